/** Symbols of units without a scale of their own, and of custom units. */

/** By name of the unit: its symbol and the number of useful decimals. */
export const SYMBOLS: Readonly<Record<string, readonly [string, number]>> = {
  none: ['', 2],
  permille: ['‰', 1],
  megapascal: ['MPa', 3],
  millimetre_of_mercury: ['mmHg', 1],
  inch_of_mercury: ['inHg', 2],
  torr: ['Torr', 1],
  atmosphere: ['atm', 3],
  kilolux: ['klx', 1],
  foot_candle: ['fc', 1],
  microseconds: ['µs', 0],
  days: ['d', 1],
  micrometre: ['µm', 1],
  inch: ['in', 2],
  foot: ['ft', 2],
  yard: ['yd', 2],
  mile: ['mi', 2],
  nautical_mile: ['nmi', 2],
  square_metre: ['m²', 2],
  square_centimetre: ['cm²', 1],
  square_foot: ['ft²', 1],
  hectare: ['ha', 2],
  cubic_metre: ['m³', 3],
  litre: ['L', 2],
  millilitre: ['mL', 0],
  cubic_centimetre: ['cm³', 0],
  cubic_foot: ['ft³', 2],
  gallon: ['gal', 2],
  imperial_gallon: ['gal (imp)', 2],
  fluid_ounce: ['fl oz', 1],
  cubic_metre_per_second: ['m³/s', 3],
  cubic_metre_per_hour: ['m³/h', 2],
  litre_per_second: ['L/s', 2],
  litre_per_minute: ['L/min', 2],
  litre_per_hour: ['L/h', 1],
  gallon_per_minute: ['gal/min', 2],
  cubic_foot_per_minute: ['ft³/min', 1],
  mile_per_hour: ['mph', 1],
  foot_per_second: ['ft/s', 1],
  knot: ['kn', 1],
  millimetre_per_hour: ['mm/h', 1],
  inch_per_hour: ['in/h', 2],
  milligram: ['mg', 1],
  microgram: ['µg', 1],
  tonne: ['t', 2],
  pound: ['lb', 2],
  ounce: ['oz', 1],
  newton: ['N', 2],
  microvolt: ['µV', 0],
  kilovolt: ['kV', 2],
  megavolt: ['MV', 3],
  microampere: ['µA', 0],
  ampere_hour: ['Ah', 2],
  milliampere_hour: ['mAh', 0],
  ohm: ['Ω', 1],
  milliohm: ['mΩ', 0],
  kiloohm: ['kΩ', 2],
  megaohm: ['MΩ', 3],
  siemens_per_metre: ['S/m', 3],
  millisiemens_per_centimetre: ['mS/cm', 2],
  microsiemens_per_centimetre: ['µS/cm', 0],
  milliwatt: ['mW', 0],
  megawatt: ['MW', 3],
  decibel_milliwatt: ['dBm', 0],
  watt_per_square_metre: ['W/m²', 0],
  kilojoule: ['kJ', 1],
  megajoule: ['MJ', 2],
  milliwatt_hour: ['mWh', 0],
  megawatt_hour: ['MWh', 3],
  calorie: ['cal', 0],
  kilocalorie: ['kcal', 1],
  british_thermal_unit: ['BTU', 0],
  gigahertz: ['GHz', 2],
  revolution_per_minute: ['rpm', 0],
  gibibytes: ['GiB', 2],
  kilobytes: ['kB', 0],
  megabytes: ['MB', 0],
  gigabytes: ['GB', 2],
  bits: ['bit', 0],
  kilogram_per_cubic_metre: ['kg/m³', 3],
  gram_per_cubic_metre: ['g/m³', 2],
  milligram_per_cubic_metre: ['mg/m³', 2],
  microgram_per_cubic_metre: ['µg/m³', 1],
  milligram_per_litre: ['mg/L', 2],
  microgram_per_litre: ['µg/L', 1],
  a_weighted_decibel: ['dB(A)', 1],
  degree_per_second: ['°/s', 1],
  radian_per_second: ['rad/s', 3],
  standard_gravity: ['g', 3],
  tesla: ['T', 3],
  millitesla: ['mT', 2],
  microtesla: ['µT', 1],
  gauss: ['G', 2],
  millisievert_per_hour: ['mSv/h', 3],
  nanosievert_per_hour: ['nSv/h', 0],
  becquerel: ['Bq', 0],
  becquerel_per_cubic_metre: ['Bq/m³', 0],
  picocurie_per_litre: ['pCi/L', 1]
};

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
/** A `u` before one of these base units means micro; in any other word it is a letter. */
const MICRO = /^u(?=(?:g|m|s|A|V|W|F|H|T|S|L|l|J|N|Sv|Gy|Bq|Pa|bar|mol|Ohm|ohm|rad)\d?$)/;

/** The usual spelling of a custom unit, which the hub stores in plain characters (`umol/m2/s`). */
export function formatCustomUnit(unit: string): string {
  const parts = unit.split(/([/.])/).map((part) => {
    if (part === '/') return part;
    if (part === '.') return '·';
    return part
      .replace(MICRO, 'µ')
      .replace(/^([kMGmµ]?)[oO]hm$/, '$1Ω')
      .replace(/^([A-Za-zµΩ]+)(\d)$/, (_, name: string, power: string) => name + SUPERSCRIPTS[Number(power)]);
  });
  return parts.join('').replaceAll('_', ' ');
}
