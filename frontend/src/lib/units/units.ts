/** How a unit of the wire is shown to people. */

import { SYMBOLS, spelled } from './symbols';

export interface Scale {
  /** What stands behind the number; empty for counts and states. */
  symbol: string;
  /** The shown number of a wire value. */
  of: (value: number) => number;
  /** How many decimals are worth showing. */
  digits: number;
  /** Whole numbers are shown as such. */
  whole?: boolean;
  /** Somebody's own unit, whose values may have any size. */
  open?: boolean;
  /** Words instead of a number (uptime, yes and no), when the value is better told so. */
  words?: (value: number) => string;
}

const plain = (symbol: string, digits: number, factor = 1): Scale => ({
  symbol,
  digits,
  of: (value) => value * factor
});

const KNOWN: Readonly<Record<string, Scale>> = {
  celsius: plain('°C', 1),
  fahrenheit: plain('°F', 1),
  kelvin: plain('K', 1),
  percent: plain('%', 1),
  ratio: plain('', 3),
  pascal: plain('hPa', 1, 0.01),
  hectopascal: plain('hPa', 1),
  kilopascal: plain('kPa', 2),
  bar: plain('bar', 3),
  psi: plain('psi', 2),
  lux: plain('lx', 0),
  milliseconds: plain('ms', 1),
  minutes: plain('min', 1),
  hours: plain('h', 1),
  metre: plain('m', 2),
  millimetre: plain('mm', 1),
  centimetre: plain('cm', 1),
  kilometre: plain('km', 2),
  metre_per_second: plain('m/s', 1),
  kilometre_per_hour: plain('km/h', 1),
  kilogram: plain('kg', 2),
  gram: plain('g', 1),
  volt: plain('V', 2),
  millivolt: plain('mV', 0),
  ampere: plain('A', 2),
  milliampere: plain('mA', 0),
  kilowatt: plain('kW', 2),
  kilowatt_hour: plain('kWh', 2),
  joule: plain('J', 0),
  kilohertz: plain('kHz', 1),
  megahertz: plain('MHz', 0),
  kibibytes: plain('KiB', 0),
  mebibytes: plain('MiB', 0),
  ppm: plain('ppm', 0),
  ppb: plain('ppb', 0),
  decibel: plain('dB', 1),
  degree: plain('°', 1),
  radian: plain('rad', 3),
  metre_per_second_squared: plain('m/s²', 2),
  sievert_per_hour: plain('µSv/h', 2, 1e6),
  microsievert_per_hour: plain('µSv/h', 2),
  count: { ...plain('', 2), whole: true },
  boolean: { ...plain('', 0), words: (value) => (value === 0 ? 'No' : 'Yes') }
};

/** Units whose sensible multiple depends on how big the value is: from, symbol, divisor, decimals. */
const LADDERS: Readonly<Record<string, readonly (readonly [number, string, number, number])[]>> = {
  bytes: [
    [0, 'B', 1, 0],
    [1024, 'KiB', 1024, 0],
    [1024 ** 2, 'MiB', 1024 ** 2, 0],
    [1024 ** 3, 'GiB', 1024 ** 3, 2],
    [1024 ** 4, 'TiB', 1024 ** 4, 2]
  ],
  hertz: [
    [0, 'Hz', 1, 1],
    [1e4, 'kHz', 1e3, 1],
    [1e6, 'MHz', 1e6, 0],
    [1e9, 'GHz', 1e9, 2]
  ],
  watt: [
    [0, 'W', 1, 1],
    [1e4, 'kW', 1e3, 2]
  ],
  watt_hour: [
    [0, 'Wh', 1, 0],
    [1e4, 'kWh', 1e3, 2]
  ]
};

/** A length of time in its two biggest parts: `3 d 4 h`, `12 min`, `8.5 s`. */
export function duration(seconds: number): string {
  const sign = seconds < 0 ? '-' : '';
  const rest = Math.abs(seconds);
  if (rest < 10) return `${sign}${number(rest, Number.isInteger(rest) ? 0 : 1)} s`;
  if (rest < 60) return `${sign}${Math.floor(rest)} s`;
  const parts: [number, string][] = [
    [Math.floor(rest / 86_400), 'd'],
    [Math.floor(rest / 3_600) % 24, 'h'],
    [Math.floor(rest / 60) % 60, 'min'],
    [Math.floor(rest) % 60, 's']
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  const shown = parts.slice(first, first + 2).filter(([amount], place) => place === 0 || amount > 0);
  return sign + shown.map(([amount, unit]) => `${amount} ${unit}`).join(' ');
}

/** The scale for values of about that size; one chart uses one scale. */
export function scaleOf(unit: string | null | undefined, magnitude = 0): Scale {
  if (!unit) return plain('', 2);
  if (unit === 'seconds') return { ...plain('s', 1), words: duration };
  const ladder = LADDERS[unit];
  if (ladder) {
    const [, symbol, divisor, digits] = ladder.findLast(([from]) => Math.abs(magnitude) >= from) ?? [0, unit, 1, 1];
    return plain(symbol, digits, 1 / divisor);
  }
  const known = SYMBOLS[unit];
  if (known) return { ...plain(known[0], known[1]), open: true };
  // A unit of somebody's own is shown as it is called.
  return KNOWN[unit] ?? { ...plain(spelled(unit), 2), open: true };
}

/** By count of decimals: making one takes a hundred times as long as formatting a number with it. */
const FORMATS = new Map<number, Intl.NumberFormat>();

function formatOf(digits: number): Intl.NumberFormat {
  let format = FORMATS.get(digits);
  if (!format) {
    format = new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
    FORMATS.set(digits, format);
  }
  return format;
}

/** A number with a fixed count of decimals and thin thousands, never `-0`. */
export function number(value: number, digits: number): string {
  const text = formatOf(digits).format(value);
  return (/^-[0.,]+$/.test(text) ? text.slice(1) : text).replaceAll(',', '\u202f');
}

/** Very small values in a unit we know nothing about would otherwise all read 0.00. */
function digitsFor(shown: number, { digits, open, whole }: Scale): number {
  if (whole && Number.isInteger(shown)) return 0;
  return open && shown !== 0 && Math.abs(shown) < 10 ** -digits ? 6 : digits;
}

export interface Shown {
  value: string;
  symbol: string;
}

/** A wire value as a person reads it. */
export function show(value: number, unit: string | null | undefined, scale = scaleOf(unit, value)): Shown {
  if (scale.words) return { value: scale.words(value), symbol: '' };
  const shown = scale.of(value);
  return { value: number(shown, digitsFor(shown, scale)), symbol: scale.symbol };
}
