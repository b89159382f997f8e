// The API keys of a project.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useList } from '../load'
import type { ApiKey, ApiKeyWithSecret } from '../shapes'
import { announce } from '../ui/announce'
import { Permissions, StateBadge, Time } from '../ui/bits'
import { Confirm, Dialog } from '../ui/dialog'
import { Field, Form, TextField, text } from '../ui/form'
import { List } from '../ui/loaded'
import { EVERYTHING, PermissionsField } from './permissions'
import { Secret } from './secret'
import { Snippets } from './snippets'

type Open =
  | { kind: 'create' }
  | { kind: 'secret', key: ApiKeyWithSecret }
  | { kind: 'use' | 'edit' | 'rotate' | 'disable' | 'delete', key: ApiKey }

const DAY_MS = 86_400_000
const LIFETIMES: [string, number | undefined][] = [['Never', undefined], ['In a day', DAY_MS], ['In 30 days', 30 * DAY_MS], ['In a year', 365 * DAY_MS]]
const OVERLAPS: [string, number][] = [['At once', 0], ['In an hour', 3_600_000], ['In a day', DAY_MS], ['In a week', 7 * DAY_MS]]

export function Keys ({ path }: { path: string }) {
  const [open, setOpen] = useState<Open>()
  const keys = useList<ApiKey>(`${path}/api-keys`)
  const close = () => setOpen(undefined)
  const done = (what: string) => {
    close()
    announce(what)
    keys.reload()
  }
  const at = (key: ApiKey) => `${path}/api-keys/${key.id}`
  const told = (key: ApiKeyWithSecret) => {
    setOpen({ kind: 'secret', key })
    keys.reload()
  }
  const rotate = async (key: ApiKey, data: FormData, once: string) => {
    const body = { overlap_ms: Number(text(data, 'overlap')) }
    told((await ask<ApiKeyWithSecret>('POST', `${at(key)}/rotate`, { body, once })).value)
  }
  const disable = async (key: ApiKey) => {
    await ask('PATCH', at(key), { body: { disabled: !key.disabled } })
    done(key.disabled ? 'Enabled' : 'Disabled')
  }
  const remove = async (key: ApiKey) => {
    await ask('DELETE', at(key))
    done('Deleted')
  }
  const button = (kind: Exclude<Open['kind'], 'create' | 'secret'>, what: string, key: ApiKey) => (
    <button onClick={() => setOpen({ kind, key })}>{what}<span class="unseen"> {key.name}</span></button>
  )
  return (
    <section aria-labelledby="keys">
      <div class="heading">
        <h2 id="keys">API keys</h2>
        <button class="main" onClick={() => setOpen({ kind: 'create' })}>Create key</button>
      </div>
      <List
        of={keys}
        caption="API keys"
        id={key => key.id}
        empty="There are no keys yet. A program publishes and subscribes with one."
        columns={[
          { name: 'Name', cell: key => <>{key.name} {key.disabled && <StateBadge state="disabled" />}{isOver(key) && <StateBadge state="expired" />}</> },
          { name: 'Allows', cell: key => <Permissions of={key.permissions} /> },
          { name: 'Ends with', cell: key => <code>…{key.hint}</code> },
          { name: 'Expires', cell: key => key.expires_at ? <Time at={key.expires_at} /> : 'never' },
          {
            name: 'Actions',
            isActions: true,
            cell: key => (
              <>
                {button('use', 'Use', key)}
                {button('edit', 'Edit', key)}
                {button('rotate', 'Rotate', key)}
                {button('disable', key.disabled ? 'Enable' : 'Disable', key)}
                {button('delete', 'Delete', key)}
              </>
            )
          }
        ]}
      />
      {open?.kind === 'create' && <Create path={path} onClose={close} onCreated={told} />}
      {open?.kind === 'secret' && (
        <Secret key={open.key.secret} title={`The secret of ${open.key.name}`} secret={open.key.secret} onClose={close}>
          <Snippets secret={open.key.secret} permissions={open.key.permissions} />
        </Secret>
      )}
      {open?.kind === 'use' && (
        <Dialog title={`Use ${open.key.name}`} onClose={close} wide>
          <p>Its secret is not kept here: put in your own.</p>
          <Snippets permissions={open.key.permissions} />
          <div class="buttons"><button type="button" onClick={close}>Close</button></div>
        </Dialog>
      )}
      {open?.kind === 'edit' && <Edit path={at(open.key)} of={open.key} onClose={close} onSaved={() => done('Saved')} />}
      {open?.kind === 'rotate' && (
        <Dialog title={`Rotate ${open.key.name}`} onClose={close}>
          <Form act="Rotate" submit={(data, once) => rotate(open.key, data, once)} onCancel={close}>
            <p>It gets another secret, which is shown once.</p>
            <Field label="The secret that it has now ends">
              {id => <select id={id} name="overlap" autofocus>{OVERLAPS.map(([name, ms]) => <option key={ms} value={ms}>{name}</option>)}</select>}
            </Field>
          </Form>
        </Dialog>
      )}
      {open?.kind === 'disable' && (
        <Confirm title={`${open.key.disabled ? 'Enable' : 'Disable'} ${open.key.name}?`} act={open.key.disabled ? 'Enable' : 'Disable'} onClose={close} submit={() => disable(open.key)}>
          <p>{open.key.disabled ? 'It opens the project again.' : 'What is open with it is closed within moments, and nothing is let in with it until it is enabled.'}</p>
        </Confirm>
      )}
      {open?.kind === 'delete' && (
        <Confirm title={`Delete ${open.key.name}?`} act="Delete key" onClose={close} submit={() => remove(open.key)}>
          <p>What is open with it is closed within moments. It cannot be undone.</p>
        </Confirm>
      )}
    </section>
  )
}

function isOver (key: ApiKey): boolean {
  return key.expires_at !== undefined && Date.parse(key.expires_at) <= Date.now()
}

function Create ({ path, onClose, onCreated }: { path: string, onClose: () => void, onCreated: (key: ApiKeyWithSecret) => void }) {
  const [permissions, setPermissions] = useState(EVERYTHING)
  const submit = async (data: FormData, once: string) => {
    const body = { name: text(data, 'name'), permissions, expires_in_ms: Number(text(data, 'lifetime')) || undefined }
    onCreated((await ask<ApiKeyWithSecret>('POST', `${path}/api-keys`, { body, once })).value)
  }
  return (
    <Dialog title="Create key" onClose={onClose} wide>
      <Form act="Create" submit={submit} onCancel={onClose}>
        <TextField label="Name" name="name" required maxLength={128} autofocus />
        <PermissionsField value={permissions} onChange={setPermissions} />
        <Field label="Expires">
          {id => <select id={id} name="lifetime">{LIFETIMES.map(([name, ms]) => <option key={name} value={ms ?? ''}>{name}</option>)}</select>}
        </Field>
      </Form>
    </Dialog>
  )
}

function Edit ({ path, of, onClose, onSaved }: { path: string, of: ApiKey, onClose: () => void, onSaved: () => void }) {
  const [permissions, setPermissions] = useState(of.permissions)
  const submit = async (data: FormData) => {
    await ask('PATCH', path, { body: { name: text(data, 'name'), permissions } })
    onSaved()
  }
  return (
    <Dialog title={`Edit ${of.name}`} onClose={onClose} wide>
      <Form act="Save" submit={submit} onCancel={onClose}>
        <TextField label="Name" name="name" required maxLength={128} value={of.name} autofocus />
        <PermissionsField value={permissions} onChange={setPermissions} />
      </Form>
    </Dialog>
  )
}
