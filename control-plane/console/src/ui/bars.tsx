// Bars over time, beside a quota: drawn by hand, with the same numbers as a table for who does not see them.

import { useEffect, useId, useState } from 'preact/hooks'
import { type By, isNear, scaleMax, share } from '../chart'
import { Table } from './table'

export interface Bar { start: number, amount: number }

interface Drawn {
  title: string
  bars: Bar[]
  by: By
  show: (amount: number) => string
  isBytes?: boolean
  /** The most that the quota lets be in one bar; Infinity without one, and missing where there is no such quota. */
  quota?: number
  /** The quota as it was set. */
  quotaText?: string
  /** What the amounts are together; missing where a sum says nothing. */
  total?: number
}

/** Its unit is a pixel, nearly: texts that shrink with the picture could not be read on a phone. */
const WIDTH = { wide: 480, narrow: 300 }
const HEIGHT = 150
/** For the amounts, which stand before the bars. */
const LEFT = 56
const BOTTOM = 20
const TOP = 16

const COMPACT = new Intl.NumberFormat(undefined, { notation: 'compact' })

export function Bars ({ title, bars, by, show, isBytes, quota, quotaText, total }: Drawn) {
  const id = useId()
  const highest = Math.max(0, ...bars.map(bar => bar.amount))
  const isDrawn = quota !== undefined && isNear(quota, highest)
  const max = scaleMax(Math.max(highest, isDrawn ? quota : 0), isBytes)
  const isNarrow = useNarrow()
  const width = isNarrow ? WIDTH.narrow : WIDTH.wide
  const step = (width - LEFT) / Math.max(1, bars.length)
  const y = (amount: number) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * amount / max
  const label = formatOf(by)
  const every = Math.ceil(bars.length / (isNarrow ? 4 : 6))
  const tick = isBytes ? show : COMPACT.format
  const summary = [
    total === undefined ? undefined : `${show(total)} in all`,
    `${show(highest)} at most${total === undefined ? '' : by === 'hour' ? ' in an hour' : ' in a day'}`,
    quota === undefined ? undefined : quota === Infinity ? 'no quota' : `${share(highest, quota)} of the quota (${quotaText ?? show(quota)})`
  ].filter(Boolean).join(', ')
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}><strong>{title}</strong> <span class="quiet">{summary}</span></figcaption>
      <svg viewBox={`0 0 ${width} ${HEIGHT}`} role="img" aria-label={`${title}: ${summary}`}>
        {[max / 2, max].map(line => (
          <g key={line}>
            <line class="grid" x1={LEFT} x2={width} y1={y(line)} y2={y(line)} />
            <text x={LEFT - 6} y={y(line) + 4} text-anchor="end">{tick(line)}</text>
          </g>
        ))}
        {bars.map((bar, at) => (
          <g key={bar.start}>
            <rect
              class={quota !== undefined && bar.amount >= quota * 0.9 ? 'bar full' : 'bar'}
              x={LEFT + at * step + step * 0.1}
              width={step * 0.8}
              y={y(bar.amount)}
              height={HEIGHT - BOTTOM - y(bar.amount)}
            >
              <title>{`${label.format(bar.start)}: ${show(bar.amount)}`}</title>
            </rect>
            {at % every === 0 && <text x={LEFT + at * step} y={HEIGHT - 5}>{label.format(bar.start)}</text>}
          </g>
        ))}
        <line class="axis" x1={LEFT} x2={width} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM} />
        {isDrawn && <line class="quota" x1={LEFT} x2={width} y1={y(quota)} y2={y(quota)} />}
        {isDrawn && <text class="quota" x={width} y={y(quota) - 3} text-anchor="end">quota</text>}
      </svg>
      <details>
        <summary>As a table<span class="unseen">: {title}</span></summary>
        <div class="scrolls" tabIndex={0} role="group" aria-label={`${title}, as a table`}>
          <Table
            caption={title}
            rows={bars.slice().reverse()}
            id={bar => bar.start}
            empty="Nothing."
            columns={[
              { name: by === 'hour' ? 'Hour' : 'Day (UTC)', cell: bar => <time dateTime={new Date(bar.start).toISOString()}>{formatOf(by, true).format(bar.start)}</time> },
              { name: title, isNumber: true, cell: bar => show(bar.amount) }
            ]}
          />
        </div>
      </details>
    </figure>
  )
}

/** Whether tables are cards, as the styles say. */
function useNarrow (): boolean {
  const [query] = useState(() => matchMedia('(max-width: 44rem)'))
  const [is, set] = useState(query.matches)
  useEffect(() => {
    const listener = () => set(query.matches)
    query.addEventListener('change', listener)
    return () => query.removeEventListener('change', listener)
  }, [query])
  return is
}

function formatOf (by: By, isLong = false): Intl.DateTimeFormat {
  if (by === 'day') return new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', timeZone: 'UTC', ...(isLong && { year: 'numeric' }) })
  const time = { hour: '2-digit', minute: '2-digit', hour12: false } as const
  return new Intl.DateTimeFormat(undefined, isLong ? { ...time, month: 'short', day: 'numeric' } : time)
}
