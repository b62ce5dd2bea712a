import { guard } from '$lib/guard';

export const load = () => guard('inside');
