/** How values and their units are shown on the page. */

import { SYMBOLS, formatCustomUnit } from './symbols';

export interface Scale {
  /** The unit after the number; empty for counts and states. */
  symbol: string;
  /** The power of ten of the displayed number; 0 without one. A value of 6e-6 is shown as 6 × 10⁻⁶. */
  exponent: number;
  /** Converts a value of the wire to the displayed number. */
  of: (value: number) => number;
  /** The number of decimals. */
  digits: number;
  /** Integers are shown without decimals. */
  whole?: boolean;
  /** Text instead of a number, for durations and booleans. */
  format?: (value: number) => string;
}

const plain = (symbol: string, digits: number, factor = 1): Scale => ({
  symbol,
  exponent: 0,
  digits,
  of: (value) => value * factor
});

const UNITS: Readonly<Record<string, Scale>> = {
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
  millivolt: plain('mV', 0),
  milliampere: plain('mA', 0),
  kilowatt: plain('kW', 2),
  kilowatt_hour: plain('kWh', 2),
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
  boolean: { ...plain('', 0), format: (value) => (value === 0 ? 'No' : 'Yes') }
};

/**
 * Units with multiples of their own: the smallest value of each multiple, its symbol, divisor and decimals.
 */
const LADDERS: Readonly<Record<string, readonly (readonly [number, string, number, number])[]>> = {
  // Decimal, as disks and memory cards are sold and as the settings are given.
  bytes: [
    [0, 'B', 1, 0],
    [1e3, 'kB', 1e3, 0],
    [1e6, 'MB', 1e6, 0],
    [1e9, 'GB', 1e9, 2],
    [1e12, 'TB', 1e12, 2]
  ]
};

/** Units with SI prefixes: their symbol, and the decimals of a value without a prefix. */
const PREFIXED: Readonly<Record<string, readonly [symbol: string, digits: number]>> = {
  hertz: ['Hz', 1],
  watt: ['W', 1],
  watt_hour: ['Wh', 0],
  joule: ['J', 0],
  volt: ['V', 2],
  ampere: ['A', 2],
  seconds: ['s', 1]
};

const PREFIXES: Readonly<Record<number, string>> = {
  [-12]: 'p',
  [-9]: 'n',
  [-6]: 'µ',
  [-3]: 'm',
  0: '',
  3: 'k',
  6: 'M',
  9: 'G',
  12: 'T'
};

/** From this value on a prefix is used. */
const PREFIX_FROM = 1e4;
/** Numbers below `SMALL` and from `LARGE` on are shown with an exponent, not with many digits. */
const SMALL = 1e-4;
const LARGE = 1e9;
/** Greater powers of ten are not finite numbers. */
const MAX_EXPONENT = 306;
/** A duration in its two biggest parts: `3 d 4 h`, `12 min`, `8.5 s`. */
export function formatDuration(seconds: number): string {
  const sign = seconds < 0 ? '-' : '';
  const rest = Math.abs(seconds);
  if (rest < 10) return `${sign}${formatNumber(rest, Number.isInteger(rest) ? 0 : 1)} s`;
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

/**
 * The scale for values up to that magnitude; one chart uses one scale. Values that would read as zero get
 * more decimals, a prefix or an exponent. Values with very many digits get a prefix or an exponent.
 */
export function scaleOf(unit: string | null | undefined, magnitude = 0): Scale {
  const size = Math.abs(magnitude);
  const prefixed = unit ? PREFIXED[unit] : undefined;
  if (unit === 'seconds' && (size === 0 || size >= 0.1)) return { ...plain('s', 1), format: formatDuration };
  if (prefixed) return withPrefix(...prefixed, size);
  const ladder = unit ? LADDERS[unit] : undefined;
  if (ladder) {
    const [, symbol, divisor, digits] = ladder.findLast(([from]) => size >= from) ?? [0, unit ?? '', 1, 1];
    return { ...plain(symbol, digits, 1 / divisor), whole: true };
  }
  const known = unit ? UNITS[unit] : undefined;
  const symbol = unit ? SYMBOLS[unit] : undefined;
  // A custom unit is shown by its name; its values may have any magnitude.
  const scale = known ?? (symbol ? plain(symbol[0], symbol[1]) : plain(formatCustomUnit(unit ?? ''), 2));
  return fitted(scale, Math.abs((known?.of ?? Number)(size)), !known);
}

/** By number of decimals: creating a format takes a hundred times as long as using it. */
const FORMATS = new Map<number, Intl.NumberFormat>();

function formatOf(digits: number): Intl.NumberFormat {
  let format = FORMATS.get(digits);
  if (!format) {
    format = new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
    FORMATS.set(digits, format);
  }
  return format;
}

function withPrefix(symbol: string, digits: number, size: number): Scale {
  const base = plain(symbol, digits);
  if (size === 0 || (size >= 10 ** -digits && size < PREFIX_FROM)) return base;
  const exponent = thousandsOf(size);
  const prefix = PREFIXES[exponent];
  if (prefix === undefined) return withExponent(base, exponent);
  return {
    ...base,
    symbol: prefix + symbol,
    digits: digitsOf(size / 10 ** exponent),
    of: (value) => value / 10 ** exponent
  };
}

/**
 * `size` is the largest displayed number. A custom unit (`open`) has no usual resolution: three digits are
 * shown.
 */
function fitted(base: Scale, size: number, open: boolean): Scale {
  if (base.format || size === 0) return base;
  if (size < SMALL || size >= LARGE) return withExponent(base, thousandsOf(size));
  if (size < (open ? 1 : 10 ** -base.digits)) {
    return { ...base, digits: (open ? 2 : 1) - Math.floor(Math.log10(size)) };
  }
  return open && size >= PREFIX_FROM ? { ...base, digits: 0 } : base;
}

const withExponent = (base: Scale, exponent: number): Scale => ({
  ...base,
  exponent,
  digits: 2,
  of: (value) => base.of(value) / 10 ** exponent
});

/** The multiple of three that leaves one to three digits before the decimal point. */
function thousandsOf(size: number): number {
  const exponent = 3 * Math.floor((Math.log10(size) + 1e-12) / 3);
  return Math.min(MAX_EXPONENT, Math.max(-MAX_EXPONENT, exponent));
}

/** The decimals that make three digits. */
const digitsOf = (size: number): number => (size < 10 ? 2 : size < 100 ? 1 : 0);

/** `×10⁻⁶`; empty for an exponent of 0. */
export function formatExponent({ exponent }: Scale): string {
  const raised = [...String(exponent)].map((digit) => SUPERSCRIPTS[digit] ?? digit).join('');
  return exponent === 0 ? '' : `×10${raised}`;
}

const SUPERSCRIPTS: Readonly<Record<string, string>> = {
  '-': '⁻',
  ...Object.fromEntries([...'⁰¹²³⁴⁵⁶⁷⁸⁹'].map((raised, digit) => [String(digit), raised]))
};

/** A number with a fixed number of decimals and thin spaces between thousands, never `-0`. */
export function formatNumber(value: number, digits: number): string {
  const text = formatOf(digits).format(value);
  return (/^-[0.,]+$/.test(text) ? text.slice(1) : text).replaceAll(',', '\u202f');
}

export interface FormattedValue {
  value: string;
  symbol: string;
}

/** The displayed number of a value, and its unit. */
export function formatValue(
  value: number,
  unit: string | null | undefined,
  scale = scaleOf(unit, value)
): FormattedValue {
  if (scale.format) return { value: scale.format(value), symbol: '' };
  const shown = scale.of(value);
  const text = formatNumber(shown, scale.whole && Number.isInteger(shown) ? 0 : scale.digits);
  return { value: scale.exponent === 0 ? text : `${text} ${formatExponent(scale)}`, symbol: scale.symbol };
}

/** An amount of data: `198 MB`, `2.54 GB`; a dash when it is not known. */
export function formatBytes(count: number | null | undefined): string {
  if (count == null) return '–';
  const { value, symbol } = formatValue(count, 'bytes');
  return `${value} ${symbol}`;
}
