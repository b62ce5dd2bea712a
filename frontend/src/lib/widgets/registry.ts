import type { Component } from 'svelte';
import { lampFieldsOf } from '../forms/fields';
import ActionForm from './ActionForm.svelte';
import CameraTile from './CameraTile.svelte';
import LampControl from './LampControl.svelte';
import SensorTile from './SensorTile.svelte';
import type { Offer, OfferKind, OfferOf } from './capabilities';

export interface Widget {
  name: string;
  /** Where on the dashboard it stands. */
  place: 'camera' | 'control' | 'sensor';
  fits: (offer: Offer) => boolean;
  component: Component<{ offer: Offer }>;
}

function widget<Kind extends OfferKind>(
  name: string,
  place: Widget['place'],
  kind: Kind,
  component: Component<{ offer: OfferOf<Kind> }>,
  fits: (offer: OfferOf<Kind>) => boolean = () => true
): Widget {
  return {
    name,
    place,
    fits: (offer) => offer.kind === kind && fits(offer as OfferOf<Kind>),
    // Only offers that fit are ever given to it.
    component: component as unknown as Widget['component']
  };
}

const isLamp = ({ action }: OfferOf<'action'>): boolean => !action.hazardous && lampFieldsOf(action.params) !== null;

/** Every widget; the first that fits an offer shows it, so the special ones come before the general ones. */
export const registry: readonly Widget[] = [
  widget('camera', 'camera', 'camera', CameraTile),
  // A switch acts at a touch; what is hazardous gets the form, which asks before it sends.
  widget('lamp', 'control', 'action', LampControl, isLamp),
  widget('action', 'control', 'action', ActionForm),
  widget('sensor', 'sensor', 'measure', SensorTile)
];

export function widgetFor(offer: Offer, widgets: readonly Widget[] = registry): Widget | undefined {
  return widgets.find((one) => one.fits(offer));
}
