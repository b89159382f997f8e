// The lines of a live tail: records that open to show all of themselves, and gaps.

import { memo } from '../ui/memo'
import { type StreamRecord, payload } from '../stream/records'
import type { Line } from '../stream/window'
import { Copy } from '../ui/bits'

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false })
/** Of a payload, so much is in the line itself. */
const PREVIEW_CHARACTERS = 200

export function Lines ({ lines, isEmpty }: { lines: Line[], isEmpty: boolean }) {
  if (lines.length === 0) {
    return <p class="empty">{isEmpty ? 'Nothing has come yet.' : 'Nothing that came has this text.'}</p>
  }
  return <ol class="lines" reversed aria-label="Records, newest first">{lines.map(line => <LineView line={line} key={line.at} />)}</ol>
}

/** A line never changes. */
const LineView = memo(({ line }: { line: Line }) => {
  if (line.kind === 'gap') {
    const { gap } = line
    return (
      <li class="gap">
        <strong>Gap</strong>
        {' '}{gap.topic ? <>Records of <code>{gap.topic}</code> are gone</> : <>Records are gone</>} ({gap.reason}):
        {' '}the tail goes on at <code>{gap.first_available}</code>.
      </li>
    )
  }
  const { record } = line
  return (
    <li>
      <details>
        <summary>
          <time dateTime={new Date(record.published_at_ms).toISOString()}>{TIME.format(record.published_at_ms)}</time>
          <code class="topic">{record.topic}</code>
          <span class="preview">{payload(record).slice(0, PREVIEW_CHARACTERS)}</span>
        </summary>
        <Whole record={record} />
      </details>
    </li>
  )
})

function Whole ({ record }: { record: StreamRecord }) {
  const facts: [string, string | undefined][] = [
    ['Offset', String(record.offset)],
    ['Published', new Date(record.published_at_ms).toISOString()],
    ['Content type', record.content_type],
    ['Key', record.key],
    ['Lives for', record.ttl_ms === undefined ? undefined : `${record.ttl_ms} ms`],
    ['Retained', record.retain ? 'yes' : undefined],
    ['Reply to', record.reply_to],
    ['Correlation', record.correlation_base64],
    ['Trace', record.traceparent],
    ...(record.headers ?? []).map(([name, value]): [string, string] => [`Header ${name}`, value])
  ]
  return (
    <>
      <pre tabIndex={0} aria-label="Payload">{pretty(record)}</pre>
      <dl class="facts">
        <div><dt>Cursor</dt><dd><code>{record.cursor}</code> <Copy text={record.cursor} what="Copy" label="Copy the cursor after this record" /></dd></div>
        {facts.map(([name, value]) => value !== undefined && <div key={name}><dt>{name}</dt><dd><code>{value}</code></dd></div>)}
      </dl>
    </>
  )
}

/** JSON with line breaks, everything else as it is; also numbers that a page cannot hold, and would show as others. */
function pretty (record: StreamRecord): string {
  const text = payload(record)
  if (!/^\s*[[{]/.test(text)) return text
  try {
    const value: unknown = JSON.parse(text)
    const isWhole = without(JSON.stringify(value)) === without(text)
    return isWhole ? JSON.stringify(value, null, 2) : text
  } catch {
    return text
  }
}

/** Without white space. */
function without (text: string): string {
  return text.replace(/\s/g, '')
}
