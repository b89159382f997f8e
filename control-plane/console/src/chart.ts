// The numbers of a chart: where its lines are, and what stands beside them.

export type By = 'hour' | 'day'

/** What one bar is about. */
export const SLOT_MS: Record<By, number> = { hour: 3_600_000, day: 86_400_000 }

/** The end of a scale that is a round number, as is its half. Bytes are round in powers of 1,024. */
export function scaleMax (highest: number, isBytes = false): number {
  if (highest <= 2) return 2
  const unit = isBytes ? 1024 ** Math.floor(Math.log(highest) / Math.log(1024)) : 1
  const power = unit * 10 ** Math.floor(Math.log10(highest / unit))
  const steps = power > unit ? [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10] : [2, 4, 6, 8, 10]
  return power * (steps.find(step => step * power >= highest) ?? 10)
}

/** Whether a quota is near enough to be drawn: otherwise the bars beside it could not be seen. */
export function isNear (quota: number, highest: number): boolean {
  return highest * 4 >= quota
}

/** So much of a quota, in words. */
export function share (highest: number, quota: number): string {
  const percent = 100 * highest / quota
  if (percent === 0) return '0 %'
  if (percent < 0.1) return '< 0.1 %'
  return `${percent.toLocaleString(undefined, { maximumFractionDigits: percent < 10 ? 1 : 0 })} %`
}
