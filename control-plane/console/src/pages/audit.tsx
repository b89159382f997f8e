// Who changed what.

import { useState } from 'preact/hooks'
import { useList } from '../load'
import type { AuditEntry } from '../shapes'
import { Time } from '../ui/bits'
import { Dialog } from '../ui/dialog'
import { List } from '../ui/loaded'
import { Page } from '../ui/page'

/** What belongs to no tenant, for operators. */
export function AuditPage () {
  return (
    <Page title="Audit">
      <p>Changes to what belongs to no tenant. Those of a tenant are on its own page.</p>
      <AuditLog path="/v1/audit" />
    </Page>
  )
}

export function AuditLog ({ path }: { path: string }) {
  const [open, setOpen] = useState<AuditEntry>()
  const entries = useList<AuditEntry>(path)
  return (
    <section aria-labelledby="audit">
      <div class="heading">
        <h2 id="audit">Changes, newest first</h2>
        <button onClick={entries.reload}>Refresh</button>
      </div>
      <List
        of={entries}
        caption="Changes"
        id={entry => entry.id}
        empty="Nothing has been changed yet."
        columns={[
          { name: 'When', cell: entry => <Time at={entry.at} /> },
          { name: 'What', cell: entry => <code>{entry.action}</code> },
          { name: 'Who', cell: entry => entry.actor },
          { name: 'To what', cell: entry => <code>{entry.resource}</code> },
          {
            name: 'Actions',
            isActions: true,
            cell: entry => <button onClick={() => setOpen(entry)}>Details<span class="unseen"> of {entry.action}</span></button>
          }
        ]}
      />
      {open && <Entry entry={open} onClose={() => setOpen(undefined)} />}
    </section>
  )
}

function Entry ({ entry, onClose }: { entry: AuditEntry, onClose: () => void }) {
  return (
    <Dialog title={entry.action} onClose={onClose} wide>
      <dl class="facts">
        <div><dt>When</dt><dd><Time at={entry.at} /></dd></div>
        <div><dt>Who</dt><dd>{entry.actor}, from {entry.from || 'here'}</dd></div>
        <div><dt>To what</dt><dd><code>{entry.resource}</code></dd></div>
        <div><dt>Request</dt><dd><code>{entry.request}</code></dd></div>
      </dl>
      <div class="beside">
        <Document name="Before" of={entry.before} none="It did not exist." />
        <Document name="After" of={entry.after} none="It is gone." />
      </div>
      <div class="buttons"><button type="button" onClick={onClose} autofocus>Close</button></div>
    </Dialog>
  )
}

function Document ({ name, of, none }: { name: string, of: unknown, none: string }) {
  return (
    <div>
      <h3>{name}</h3>
      {of ? <pre tabIndex={0} aria-label={name}>{JSON.stringify(of, null, 2)}</pre> : <p class="quiet">{none}</p>}
    </div>
  )
}
