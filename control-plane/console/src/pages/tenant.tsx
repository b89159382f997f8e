// One tenant, section by section.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useKnown } from '../app'
import { useList, useLoaded } from '../load'
import { Link, go } from '../router'
import type { Project, Tenant } from '../shapes'
import { Id, StateBadge, Time } from '../ui/bits'
import { Confirm, Dialog } from '../ui/dialog'
import { Form, TextField, number, text } from '../ui/form'
import { List, Show } from '../ui/loaded'
import { Page } from '../ui/page'
import { announce } from '../ui/announce'
import { AuditLog } from './audit'
import { Members } from './members'
import { QuotasForm } from './quotas'
import { Suspension } from './suspension'
import { Find } from './tenants'
import { UsageCharts } from './usage'

const SECTIONS = ['projects', 'members', 'quotas', 'usage', 'audit', 'settings']

export function TenantPage ({ tenant: id, section }: { tenant: string, section: string }) {
  const path = `/v1/tenants/${id}`
  const { isOperator } = useKnown()
  const tenant = useLoaded(signal => ask<Tenant>('GET', path, { signal }), [path])
  return (
    <Show of={tenant} page="Tenant">
      {({ value, etag }) => (
        <Page
          title={value.name}
          badge={<StateBadge state={value.state} />}
          above={[{ name: 'Tenants', to: ['tenants'] }]}
          sections={SECTIONS.map(name => ({ name: titled(name), to: ['tenants', id, name], isCurrent: name === section }))}
        >
          {section === 'projects' && <Projects tenant={id} />}
          {section === 'members' && <Members path={path} />}
          {section === 'quotas' && <QuotasForm path={path} mayChange={isOperator} of="What all projects of the tenant may use together, in the whole cluster." />}
          {section === 'usage' && <UsageCharts path={path} quotas={value.quotas} name={value.name} />}
          {section === 'audit' && <AuditLog path={`${path}/audit`} />}
          {section === 'settings' && <TenantSettings path={path} tenant={value} etag={etag} onChange={tenant.reload} />}
        </Page>
      )}
    </Show>
  )
}

export function titled (name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1)
}

function Projects ({ tenant }: { tenant: string }) {
  const path = `/v1/tenants/${tenant}/projects`
  const [name, setName] = useState('')
  const [isCreating, setCreating] = useState(false)
  const projects = useList<Project>(path, { name })
  const create = async (data: FormData, once: string) => {
    const body = { name: text(data, 'name'), spread: number(data, 'spread') }
    const created = await ask<Project>('POST', path, { body, once })
    go('tenants', tenant, 'projects', created.value.id)
  }
  return (
    <section aria-labelledby="projects">
      <div class="heading">
        <h2 id="projects">Projects</h2>
        <button class="main" onClick={() => setCreating(true)}>Create project</button>
      </div>
      <Find of="project" name={name} onName={setName} />
      <List
        of={projects}
        caption="Projects"
        id={project => project.id}
        empty={name ? `No project is called ${name}.` : 'There are no projects yet. One holds topics, and the keys that open them.'}
        columns={[
          { name: 'Name', cell: project => <Link to={['tenants', tenant, 'projects', project.id]}>{project.name}</Link> },
          { name: 'State', cell: project => <StateBadge state={project.state} /> },
          { name: 'Id', cell: project => <code>{project.id}</code> },
          { name: 'Created', cell: project => <Time at={project.created_at} /> },
          { name: 'Deleted by itself', cell: project => <Time at={project.expires_at} /> }
        ]}
      />
      {isCreating && (
        <Dialog title="Create project" onClose={() => setCreating(false)}>
          <Form act="Create" submit={create} onCancel={() => setCreating(false)}>
            <TextField label="Name" name="name" required maxLength={128} autofocus hint="No other project of the tenant has it. It can be changed." />
            <TextField
              label="Shards"
              name="spread"
              type="number"
              min={1}
              max={64}
              value="1"
              required
              hint="Over how many its topics are spread. It never changes: more allow more throughput, and make reading by filters dearer."
            />
          </Form>
        </Dialog>
      )}
    </section>
  )
}

interface Settings { path: string, tenant: Tenant, etag: string | null, onChange: () => void }

function TenantSettings ({ path, tenant, etag, onChange }: Settings) {
  const { isOperator } = useKnown()
  const [open, setOpen] = useState<'state' | 'delete'>()
  const close = () => setOpen(undefined)
  const rename = async (data: FormData) => {
    await ask('PATCH', path, { body: { name: text(data, 'name') }, etag })
    announce('Saved')
    onChange()
  }
  const remove = async () => {
    await ask('DELETE', path)
    announce(`${tenant.name} is being deleted`)
    go('tenants')
  }
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">Settings</h2>
      <dl class="facts">
        <div><dt>Id</dt><dd><Id id={tenant.id} /></dd></div>
        <div><dt>Created</dt><dd><Time at={tenant.created_at} /></dd></div>
        <div><dt>Last changed</dt><dd><Time at={tenant.updated_at} /></dd></div>
      </dl>
      <Form act="Save" submit={rename}>
        <TextField label="Name" name="name" value={tenant.name} required maxLength={128} />
      </Form>
      {isOperator && tenant.state !== 'deleting' && (
        <section class="grave" aria-labelledby="grave">
          <h3 id="grave">Suspend or delete</h3>
          <p>A tenant is deleted when it has no projects any more: they go first, one by one.</p>
          <div class="buttons">
            <button onClick={() => setOpen('state')}>{tenant.state === 'active' ? 'Suspend tenant' : 'Resume tenant'}</button>
            <button class="danger" onClick={() => setOpen('delete')}>Delete tenant</button>
          </div>
        </section>
      )}
      {open === 'state' && (
        <Suspension kind="tenant" path={path} name={tenant.name} state={tenant.state} onClose={close} onDone={() => { close(); onChange() }} />
      )}
      {open === 'delete' && (
        <Confirm title={`Delete ${tenant.name}?`} act="Delete tenant" type={tenant.name} onClose={close} submit={remove}>
          <p>Its members go with it. It cannot be undone.</p>
        </Confirm>
      )}
    </section>
  )
}
