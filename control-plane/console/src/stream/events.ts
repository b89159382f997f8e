// An event stream as it comes in, read line by line (WHATWG HTML, section 9.2.6).

export interface StreamEvent { name: string, data: string, id: string }

/** Takes text as it comes, and gives out the events that are complete. */
export class EventReader {
  private rest = ''
  private name = ''
  private data: string[] = []
  private id = ''
  /** What the server wants between the end of a stream and the next one. */
  retryMs: number | undefined

  read (text: string): StreamEvent[] {
    const events: StreamEvent[] = []
    this.rest += text
    for (;;) {
      const end = /\r\n|\n|\r(?=[^])/.exec(this.rest)
      if (!end) return events
      const line = this.rest.slice(0, end.index)
      this.rest = this.rest.slice(end.index + end[0].length)
      const event = this.line(line)
      if (event) events.push(event)
    }
  }

  private line (line: string): StreamEvent | undefined {
    if (line === '') return this.dispatch()
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === 'event') this.name = value
    else if (field === 'data') this.data.push(value)
    else if (field === 'id' && !value.includes('\0')) this.id = value
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value)
  }

  private dispatch (): StreamEvent | undefined {
    const event = this.data.length > 0
      ? { name: this.name || 'message', data: this.data.join('\n'), id: this.id }
      : undefined
    this.name = ''
    this.data = []
    return event
  }
}
