// What was used, hour by hour or day by day, beside the quotas.

import { useState } from 'preact/hooks'
import { askText, get } from '../api'
import { type By, SLOT_MS } from '../chart'
import { useLoaded } from '../load'
import type { Quotas, Traffic, Usage, Used } from '../shapes'
import { Bars } from '../ui/bars'
import { bytes, count } from '../ui/bits'
import { Field } from '../ui/form'
import { Show } from '../ui/loaded'
import { ProblemView } from '../ui/problem'
import { Table } from '../ui/table'

const RANGES: { name: string, by: By, slots: number }[] = [
  { name: 'Last 24 hours', by: 'hour', slots: 24 },
  { name: 'Last 3 days, by the hour', by: 'hour', slots: 72 },
  { name: 'Last 30 days', by: 'day', slots: 30 },
  { name: 'Last 90 days', by: 'day', slots: 90 }
]

interface Chart {
  title: string
  of: (used: Used) => number
  show: (amount: number) => string
  isBytes?: boolean
  quota?: keyof Quotas
  /** The quota is for each second, and a bar for many. */
  isRate?: boolean
  isSum?: boolean
}

const CHARTS: Chart[] = [
  { title: 'Messages in', of: used => used.messages_in, show: count, quota: 'publish_messages_per_second', isRate: true, isSum: true },
  { title: 'Messages out', of: used => used.messages_out, show: count, quota: 'delivery_messages_per_second', isRate: true, isSum: true },
  { title: 'Bytes in', of: used => used.bytes_in, show: bytes, isBytes: true, quota: 'publish_bytes_per_second', isRate: true, isSum: true },
  { title: 'Bytes out', of: used => used.bytes_out, show: bytes, isBytes: true, quota: 'delivery_bytes_per_second', isRate: true, isSum: true },
  { title: 'Most connections at once', of: used => used.peak_connections, show: count, quota: 'connections' },
  { title: 'Stored', of: used => used.stored_bytes, show: bytes, isBytes: true, quota: 'stored_bytes' },
  { title: 'Minutes of connections', of: used => used.connection_minutes, show: minutes, isSum: true }
]

interface Shown { path: string, quotas: Quotas, name: string }

export function UsageCharts ({ path, quotas, name }: Shown) {
  const [chosen, choose] = useState(0)
  const [failure, setFailure] = useState<unknown>()
  const { by, slots: length } = RANGES[chosen] ?? { by: 'hour', slots: 24 }
  // The last one is what is going on.
  const query = () => ({ by, from: new Date(Date.now() - (length - 1) * SLOT_MS[by]).toISOString() })
  const usage = useLoaded(signal => get<Usage>(`${path}/usage`, query(), signal), [path, chosen])
  const download = async () => {
    setFailure(undefined)
    try {
      const csv = await askText(`${path}/usage`, { query: query(), accept: 'text/csv' })
      save(`usage of ${name}.csv`, csv)
    } catch (error) {
      setFailure(error)
    }
  }
  return (
    <section aria-labelledby="usage">
      <div class="heading">
        <h2 id="usage">Usage</h2>
        <div class="buttons">
          <button onClick={usage.reload}>Refresh</button>
          <button onClick={download}>Download CSV</button>
        </div>
      </div>
      {failure !== undefined && <ProblemView error={failure} />}
      <Field label="Time">
        {id => (
          <select id={id} value={chosen} onChange={event => choose(Number(event.currentTarget.value))}>
            {RANGES.map(({ name }, at) => <option key={name} value={at}>{name}</option>)}
          </select>
        )}
      </Field>
      <Show of={usage}>
        {({ items }) => <Charts items={items} by={by} quotas={quotas} />}
      </Show>
    </section>
  )
}

interface Charted { items: Used[], by: By, quotas: Quotas }

function Charts ({ items, by, quotas }: Charted) {
  return (
    <>
      <div class="charts">
        {CHARTS.map(({ title, of, show, isBytes, quota, isRate, isSum }) => {
          const bars = items.map(used => ({ start: Date.parse(used.start), amount: of(used) }))
          const limit = quota && quotas[quota]
          return (
            <Bars
              key={title}
              title={title}
              bars={bars}
              by={by}
              show={show}
              isBytes={isBytes}
              quota={quota && (limit === undefined ? Infinity : isRate ? limit * SLOT_MS[by] / 1000 : limit)}
              quotaText={limit === undefined ? undefined : `${show(limit)}${isRate ? ' a second' : ''}`}
              total={isSum ? bars.reduce((sum, bar) => sum + bar.amount, 0) : undefined}
            />
          )
        })}
      </div>
      <h3>By protocol</h3>
      <Table
        caption="By protocol"
        rows={byProtocol(items)}
        id={([name]) => name}
        empty="Nothing was used in this time."
        columns={[
          { name: 'Protocol', cell: ([name]) => name },
          { name: 'Messages in', isNumber: true, cell: ([, of]) => count(of.messages_in) },
          { name: 'Bytes in', isNumber: true, cell: ([, of]) => bytes(of.bytes_in) },
          { name: 'Messages out', isNumber: true, cell: ([, of]) => count(of.messages_out) },
          { name: 'Bytes out', isNumber: true, cell: ([, of]) => bytes(of.bytes_out) },
          { name: 'Minutes of connections', isNumber: true, cell: ([, of]) => minutes(of.connection_minutes) }
        ]}
      />
    </>
  )
}

function byProtocol (items: Used[]): [string, Traffic][] {
  const sums = new Map<string, Traffic>()
  for (const item of items) {
    for (const [name, of] of Object.entries(item.protocols)) {
      const sum = sums.get(name) ?? { messages_in: 0, bytes_in: 0, messages_out: 0, bytes_out: 0, connection_minutes: 0 }
      for (const key of Object.keys(sum) as (keyof Traffic)[]) sum[key] += of[key] ?? 0
      sums.set(name, sum)
    }
  }
  return [...sums].sort(([a], [b]) => a.localeCompare(b))
}

function minutes (amount: number): string {
  return count(amount < 10 ? Math.round(amount * 10) / 10 : Math.round(amount))
}

/** Lets the browser save a text as a file. */
function save (name: string, text: string) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
