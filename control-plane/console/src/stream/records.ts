// What the data plane says: records, gaps and results, as its JSON has them.

export interface StreamRecord {
  topic: string
  offset: number
  cursor: string
  published_at_ms: number
  content_type?: string
  headers?: [string, string][]
  key?: string
  ttl_ms?: number
  traceparent?: string
  retain?: boolean
  reply_to?: string
  correlation_base64?: string
  data?: string
  data_base64?: string
}

export interface Gap { topic?: string, requested: string, first_available: string, reason: string }

export interface PublishResult { topic: string, offset: number, cursor: string, duplicate: boolean }

/** The payload as text, as far as it is some: what MQTT and curl send is often text that nobody has called so. */
export function payload (record: StreamRecord): string {
  if (record.data !== undefined) return record.data
  const base64 = record.data_base64 ?? ''
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0))
  return textOf(bytes) ?? `${bytes.length} ${bytes.length === 1 ? 'byte' : 'bytes'}: ${base64}`
}

function textOf (bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return /[^\P{Cc}\t\n\r]/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}
