// The tenants that one may administer; operators create and suspend them.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useKnown } from '../app'
import { useList } from '../load'
import { Link, go } from '../router'
import type { Tenant } from '../shapes'
import { StateBadge, Time } from '../ui/bits'
import { Dialog } from '../ui/dialog'
import { Field, Form, TextField, text } from '../ui/form'
import { List } from '../ui/loaded'
import { Page } from '../ui/page'
import { Suspension } from './suspension'

type Open = { kind: 'create' } | { kind: 'state', tenant: Tenant }

export function TenantsPage () {
  const { isOperator } = useKnown()
  const [name, setName] = useState('')
  const [open, setOpen] = useState<Open>()
  const tenants = useList<Tenant>('/v1/tenants', { name })
  const close = () => setOpen(undefined)
  return (
    <Page
      title="Tenants"
      actions={isOperator && <button class="main" onClick={() => setOpen({ kind: 'create' })}>Create tenant</button>}
    >
      <Find of="tenant" name={name} onName={setName} />
      <List
        of={tenants}
        caption="Tenants"
        id={tenant => tenant.id}
        empty={name ? `No tenant is called ${name}.` : isOperator ? 'There are no tenants yet.' : 'You are a member of no tenant yet: an owner of one, or an operator, adds you.'}
        columns={[
          { name: 'Name', cell: tenant => <Link to={['tenants', tenant.id]}>{tenant.name}</Link> },
          { name: 'State', cell: tenant => <StateBadge state={tenant.state} /> },
          { name: 'Id', cell: tenant => <code>{tenant.id}</code> },
          { name: 'Created', cell: tenant => <Time at={tenant.created_at} /> },
          ...(isOperator
            ? [{
                name: 'Actions',
                isActions: true,
                cell: (tenant: Tenant) => tenant.state !== 'deleting' && (
                  <button onClick={() => setOpen({ kind: 'state', tenant })}>
                    {tenant.state === 'active' ? 'Suspend' : 'Resume'}<span class="unseen"> {tenant.name}</span>
                  </button>
                )
              }]
            : [])
        ]}
      />
      {open?.kind === 'create' && <Create onClose={close} />}
      {open?.kind === 'state' && (
        <Suspension
          kind="tenant"
          path={`/v1/tenants/${open.tenant.id}`}
          name={open.tenant.name}
          state={open.tenant.state}
          onClose={close}
          onDone={() => { close(); tenants.reload() }}
        />
      )}
    </Page>
  )
}

function Create ({ onClose }: { onClose: () => void }) {
  const submit = async (data: FormData, once: string) => {
    const created = await ask<Tenant>('POST', '/v1/tenants', { body: { name: text(data, 'name') }, once })
    go('tenants', created.value.id)
  }
  return (
    <Dialog title="Create tenant" onClose={onClose}>
      <Form act="Create" submit={submit} onCancel={onClose}>
        <TextField label="Name" name="name" required maxLength={128} autofocus hint="No other tenant has it. It can be changed." />
      </Form>
    </Dialog>
  )
}

/** Finds by the whole name, as the service does. */
export function Find ({ of, name, onName }: { of: string, name: string, onName: (name: string) => void }) {
  const search = (event: SubmitEvent) => {
    event.preventDefault()
    onName(text(new FormData(event.target as HTMLFormElement), 'name'))
  }
  return (
    <form role="search" class="find" onSubmit={search} onReset={() => onName('')}>
      <Field label={`Find a ${of} by its whole name`}>
        {id => <input id={id} name="name" type="search" autocomplete="off" defaultValue={name} />}
      </Field>
      <button type="submit">Find</button>
      {name && <button type="reset">Show all</button>}
    </form>
  )
}
