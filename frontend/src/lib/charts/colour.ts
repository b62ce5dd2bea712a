/** A quantity has the same colour in every chart; app.css defines the colours for each scheme. */
const BY_WORD: readonly [pattern: RegExp, name: string][] = [
  [/temp|heat/, 'coral'],
  [/humid|water|moist|rain/, 'blue'],
  [/press/, 'violet'],
  [/lux|light|illum|power|watt|energy/, 'amber'],
  [/load|cpu/, 'teal'],
  [/mem|ram/, 'pink'],
  [/disk|stor/, 'indigo'],
  [/co2|gas|air/, 'green']
];
const OTHERS = ['teal', 'blue', 'violet', 'amber', 'green', 'indigo', 'pink'] as const;

/** The number of colours for channels; with more channels they repeat. */
export const CHANNEL_COLOURS = 8;

/**
 * The custom property with the colour of the series. `place` is its place among the channels of the type in its
 * module; `null` if it is the only one.
 */
export function colourOf(type: string, place: number | null = null): string {
  if (place !== null) return `--channel-${(place % CHANNEL_COLOURS) + 1}`;
  const known = BY_WORD.find(([pattern]) => pattern.test(type))?.[1];
  if (known) return `--${known}`;
  let sum = 0;
  for (const character of type) sum += character.charCodeAt(0);
  return `--${OTHERS[sum % OTHERS.length]}`;
}
