// Who may administer a tenant.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useList } from '../load'
import type { Member, Role } from '../shapes'
import { Time } from '../ui/bits'
import { Confirm, Dialog } from '../ui/dialog'
import { Field, Form, TextField, text } from '../ui/form'
import { List } from '../ui/loaded'
import { announce } from '../ui/announce'

const ROLES: Record<Role, string> = {
  viewer: 'Viewer: sees everything but secrets',
  editor: 'Editor: changes projects, keys and policies',
  owner: 'Owner: members, too'
}

type Open = { kind: 'add' } | { kind: 'role' | 'remove', member: Member }

export function Members ({ path }: { path: string }) {
  const [open, setOpen] = useState<Open>()
  const members = useList<Member>(`${path}/members`)
  const close = () => setOpen(undefined)
  const done = (text: string) => {
    close()
    announce(text)
    members.reload()
  }
  const add = async (data: FormData, once: string) => {
    await ask('POST', `${path}/members`, { body: { subject: text(data, 'subject'), role: text(data, 'role') }, once })
    done('Added')
  }
  const change = async (member: Member, data: FormData) => {
    await ask('PATCH', `${path}/members/${member.id}`, { body: { role: text(data, 'role') } })
    done('Saved')
  }
  const remove = async (member: Member) => {
    await ask('DELETE', `${path}/members/${member.id}`)
    done('Removed')
  }
  return (
    <section aria-labelledby="members">
      <div class="heading">
        <h2 id="members">Members</h2>
        <button class="main" onClick={() => setOpen({ kind: 'add' })}>Add member</button>
      </div>
      <List
        of={members}
        caption="Members"
        id={member => member.id}
        empty="There are no members. Operators administer it."
        columns={[
          { name: 'Subject', cell: member => member.subject },
          { name: 'Role', cell: member => member.role },
          { name: 'Added', cell: member => <Time at={member.created_at} /> },
          {
            name: 'Actions',
            isActions: true,
            cell: member => (
              <>
                <button onClick={() => setOpen({ kind: 'role', member })}>Change role<span class="unseen"> of {member.subject}</span></button>
                <button onClick={() => setOpen({ kind: 'remove', member })}>Remove<span class="unseen"> {member.subject}</span></button>
              </>
            )
          }
        ]}
      />
      {open?.kind === 'add' && (
        <Dialog title="Add member" onClose={close}>
          <Form act="Add" submit={add} onCancel={close}>
            <TextField label="Subject" name="subject" required maxLength={256} autofocus hint="What the identity provider calls the person or program (sub), or an email address that it has verified; letter for letter." />
            <RoleField />
          </Form>
        </Dialog>
      )}
      {open?.kind === 'role' && (
        <Dialog title={`Role of ${open.member.subject}`} onClose={close}>
          <Form act="Save" submit={data => change(open.member, data)} onCancel={close}>
            <RoleField role={open.member.role} />
          </Form>
        </Dialog>
      )}
      {open?.kind === 'remove' && (
        <Confirm title={`Remove ${open.member.subject}?`} act="Remove" onClose={close} submit={() => remove(open.member)}>
          <p>It sees nothing of the tenant any more.</p>
        </Confirm>
      )}
    </section>
  )
}

function RoleField ({ role = 'viewer' }: { role?: Role }) {
  return (
    <Field label="Role">
      {id => (
        <select id={id} name="role">
          {Object.entries(ROLES).map(([name, text]) => <option key={name} value={name} selected={name === role}>{text}</option>)}
        </select>
      )}
    </Field>
  )
}
