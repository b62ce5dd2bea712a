import type { Component } from 'svelte';
import { lampFieldsOf } from '../forms/fields';
import ActionForm from './ActionForm.svelte';
import CameraTile from './CameraTile.svelte';
import LampControl from './LampControl.svelte';
import SensorTile from './SensorTile.svelte';
import type { Capability, CapabilityKind, CapabilityOf } from './capabilities';

export interface Widget {
  name: string;
  /** Its section of the dashboard. */
  section: 'camera' | 'control' | 'sensor';
  fits: (capability: Capability) => boolean;
  component: Component<{ capability: Capability }>;
}

function widget<Kind extends CapabilityKind>(
  name: string,
  section: Widget['section'],
  kind: Kind,
  component: Component<{ capability: CapabilityOf<Kind> }>,
  fits: (capability: CapabilityOf<Kind>) => boolean = () => true
): Widget {
  return {
    name,
    section,
    fits: (capability) => capability.kind === kind && fits(capability as CapabilityOf<Kind>),
    // The component only gets capabilities that fit.
    component: component as unknown as Widget['component']
  };
}

const isLamp = ({ action }: CapabilityOf<'action'>): boolean =>
  !action.hazardous && lampFieldsOf(action.params) !== null;

/** All widgets; the first one that fits a capability shows it, so special ones come before general ones. */
export const registry: readonly Widget[] = [
  widget('camera', 'camera', 'camera', CameraTile),
  // A switch acts at a touch; a hazardous action gets the form, which asks for confirmation.
  widget('lamp', 'control', 'action', LampControl, isLamp),
  widget('action', 'control', 'action', ActionForm),
  widget('sensor', 'sensor', 'measure', SensorTile)
];

export function widgetFor(capability: Capability, widgets: readonly Widget[] = registry): Widget | undefined {
  return widgets.find((one) => one.fits(capability));
}
