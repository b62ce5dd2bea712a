import { guard } from '$lib/guard';
import type { LayoutLoad } from './$types';

export const load: LayoutLoad = ({ fetch }) => guard('app', fetch);
