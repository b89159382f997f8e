// Short tokens for programs and pages, and the revocations of those that went astray.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useList } from '../load'
import type { Revocation, Token } from '../shapes'
import { announce } from '../ui/announce'
import { Time } from '../ui/bits'
import { Confirm, Dialog } from '../ui/dialog'
import { Field, Form, TextField, number, text } from '../ui/form'
import { List } from '../ui/loaded'
import { PermissionsField } from './permissions'
import { Secret } from './secret'
import { Snippets } from './snippets'

const MINUTE_MS = 60_000

type Open = { kind: 'make' | 'revoke' } | { kind: 'token', token: Token } | { kind: 'forget', revocation: Revocation }

export function Tokens ({ path }: { path: string }) {
  const [open, setOpen] = useState<Open>()
  const revocations = useList<Revocation>(`${path}/revocations`)
  const close = () => setOpen(undefined)
  const done = (what: string) => {
    close()
    announce(what)
    revocations.reload()
  }
  const forget = async (revocation: Revocation) => {
    await ask('DELETE', `${path}/revocations/${revocation.id}`)
    done('Deleted')
  }
  return (
    <>
      <section aria-labelledby="tokens">
        <div class="heading">
          <h2 id="tokens">Tokens</h2>
          <button class="main" onClick={() => setOpen({ kind: 'make' })}>Make token</button>
        </div>
        <p>A token opens the project for a short time, for one program or one user. It is not kept: what ends it early is a revocation.</p>
      </section>
      <section aria-labelledby="revocations">
        <div class="heading">
          <h2 id="revocations">Revocations</h2>
          <button onClick={() => setOpen({ kind: 'revoke' })}>Revoke</button>
        </div>
        <List
          of={revocations}
          caption="Revocations"
          id={revocation => revocation.id}
          empty="Nothing is revoked."
          columns={[
            { name: 'What', cell: revocation => <What of={revocation} /> },
            { name: 'Issued before', cell: revocation => <Time at={revocation.issued_before} /> },
            { name: 'Forgotten', cell: revocation => <Time at={revocation.forgotten_at} /> },
            {
              name: 'Actions',
              isActions: true,
              cell: revocation => <button onClick={() => setOpen({ kind: 'forget', revocation })}>Delete<span class="unseen"> this revocation</span></button>
            }
          ]}
        />
      </section>
      {open?.kind === 'make' && <Make path={path} onClose={close} onMade={token => setOpen({ kind: 'token', token })} />}
      {open?.kind === 'token' && (
        <Secret key="token" title="The token" secret={open.token.token} onClose={close}>
          <p>Its id is <code>{open.token.id}</code>; it ends <Time at={open.token.expires_at} />.</p>
          <Snippets secret={open.token.token} permissions={open.token.permissions} />
        </Secret>
      )}
      {open?.kind === 'revoke' && <Revoke path={path} onClose={close} onRevoked={() => done('Revoked')} />}
      {open?.kind === 'forget' && (
        <Confirm title="Delete this revocation?" act="Delete revocation" onClose={close} submit={() => forget(open.revocation)}>
          <p>The tokens that it ended are good again, unless their time is over.</p>
        </Confirm>
      )}
    </>
  )
}

function What ({ of }: { of: Revocation }) {
  if (of.token_id !== undefined) return <>token <code>{of.token_id}</code></>
  if (of.subject !== undefined) return <>tokens of <code>{of.subject}</code></>
  return <>all tokens</>
}

function Make ({ path, onClose, onMade }: { path: string, onClose: () => void, onMade: (token: Token) => void }) {
  const [permissions, setPermissions] = useState([{ operations: ['subscribe' as const], topics: '#' }] as Token['permissions'])
  const submit = async (data: FormData) => {
    const body = { permissions, subject: text(data, 'subject') || undefined, lifetime_ms: (number(data, 'minutes') ?? 15) * MINUTE_MS }
    onMade((await ask<Token>('POST', `${path}/tokens`, { body })).value)
  }
  return (
    <Dialog title="Make token" onClose={onClose} wide>
      <Form act="Make" submit={submit} onCancel={onClose}>
        <PermissionsField value={permissions} onChange={setPermissions} />
        <TextField label="Subject" name="subject" maxLength={256} hint="Whose it is, if it is somebody’s. All tokens of a subject can be revoked together." />
        <TextField label="Minutes" name="minutes" type="number" required min={1} max={1440} value="15" />
      </Form>
    </Dialog>
  )
}

function Revoke ({ path, onClose, onRevoked }: { path: string, onClose: () => void, onRevoked: () => void }) {
  const [kind, setKind] = useState('token_id')
  const submit = async (data: FormData, once: string) => {
    const body = kind === 'all' ? { all: true } : { [kind]: text(data, 'which') }
    await ask('POST', `${path}/revocations`, { body, once })
    onRevoked()
  }
  return (
    <Dialog title="Revoke tokens" onClose={onClose}>
      <Form act="Revoke" danger submit={submit} onCancel={onClose}>
        <p>Tokens that were issued until now are good no longer, and what is open with them is closed.</p>
        <Field label="What">
          {id => (
            <select id={id} value={kind} onChange={event => setKind(event.currentTarget.value)} autofocus>
              <option value="token_id">One token</option>
              <option value="subject">All tokens of a subject</option>
              <option value="all">All tokens of the project</option>
            </select>
          )}
        </Field>
        {kind !== 'all' && <TextField label={kind === 'subject' ? 'Subject' : 'Token’s id'} name="which" required mono key={kind} />}
      </Form>
    </Dialog>
  )
}
