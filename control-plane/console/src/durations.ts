// Durations as people write them: 90s, 15m, 12h, 30d.

const UNITS: [string, number][] = [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1_000], ['ms', 1]]

/** Milliseconds, or nothing when it is no duration. */
export function parseDuration (text: string): number | undefined {
  const [, amount, unit] = /^(\d+)\s*(ms|s|m|h|d)$/.exec(text.trim()) ?? []
  const ms = UNITS.find(([name]) => name === unit)?.[1]
  return amount === undefined || ms === undefined ? undefined : Number(amount) * ms
}

/** In the largest unit that loses nothing. */
export function showDuration (ms: number): string {
  const [name, size] = UNITS.find(([, size]) => ms % size === 0) ?? ['ms', 1]
  return `${ms / size}${name}`
}
