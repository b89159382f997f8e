// One project, section by section.

import { useState } from 'preact/hooks'
import { ask } from '../api'
import { useLoaded } from '../load'
import { go } from '../router'
import type { Project, Tenant } from '../shapes'
import { announce } from '../ui/announce'
import { Id, StateBadge, Time } from '../ui/bits'
import { Confirm } from '../ui/dialog'
import { Field, Form, TextField, text } from '../ui/form'
import { Show } from '../ui/loaded'
import { Page } from '../ui/page'
import { Keys } from './keys'
import { Live } from './live'
import { Policies } from './policies'
import { QuotasForm } from './quotas'
import { Suspension } from './suspension'
import { Tokens } from './tokens'
import { UsageCharts } from './usage'
import { titled } from './tenant'

const SECTIONS = ['keys', 'live', 'usage', 'topics', 'quotas', 'tokens', 'settings']

export function ProjectPage ({ tenant, project: id, section }: { tenant: string, project: string, section: string }) {
  const path = `/v1/tenants/${tenant}/projects/${id}`
  const project = useLoaded(signal => ask<Project>('GET', path, { signal }), [path])
  const parent = useLoaded(signal => ask<Tenant>('GET', `/v1/tenants/${tenant}`, { signal }), [tenant])
  return (
    <Show of={project} page="Project">
      {({ value, etag }) => (
        <Page
          title={value.name}
          badge={<StateBadge state={value.state} />}
          above={[
            { name: 'Tenants', to: ['tenants'] },
            { name: parent.value?.value.name ?? 'Tenant', to: ['tenants', tenant] }
          ]}
          sections={SECTIONS.map(name => ({ name: titled(name), to: ['tenants', tenant, 'projects', id, name], isCurrent: name === section }))}
        >
          {section === 'keys' && <Keys path={path} />}
          {section === 'live' && <Live path={path} onChange={project.reload} />}
          {section === 'usage' && <UsageCharts path={path} quotas={value.quotas} name={value.name} />}
          {section === 'topics' && <Policies path={path} />}
          {section === 'quotas' && <QuotasForm path={path} of="What the project may use, in the whole cluster." onChange={project.reload} />}
          {section === 'tokens' && <Tokens path={path} />}
          {section === 'settings' && <ProjectSettings path={path} project={value} etag={etag} onChange={project.reload} />}
        </Page>
      )}
    </Show>
  )
}

interface Settings { path: string, project: Project, etag: string | null, onChange: () => void }

function ProjectSettings ({ path, project, etag, onChange }: Settings) {
  const [open, setOpen] = useState<'state' | 'delete'>()
  const close = () => setOpen(undefined)
  const save = async (data: FormData) => {
    const origins = text(data, 'origins').split(/\s+/).filter(Boolean)
    await ask('PATCH', path, { body: { name: text(data, 'name'), origins }, etag })
    announce('Saved')
    onChange()
  }
  const remove = async () => {
    await ask('DELETE', path)
    announce(`${project.name} is being deleted`)
    go('tenants', project.tenant)
  }
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">Settings</h2>
      <dl class="facts">
        <div><dt>Id</dt><dd><Id id={project.id} /></dd></div>
        <div><dt>Shards</dt><dd>{project.spread}</dd></div>
        <div><dt>Created</dt><dd><Time at={project.created_at} /></dd></div>
        <div><dt>Last changed</dt><dd><Time at={project.updated_at} /></dd></div>
        {project.expires_at && <div><dt>Deleted by itself</dt><dd><Time at={project.expires_at} /></dd></div>}
      </dl>
      <Form act="Save" submit={save} key={etag ?? ''}>
        <TextField label="Name" name="name" value={project.name} required maxLength={128} />
        <Field label="Origins" hint={<>Web pages that may use it, one a line: <code>https://app.example.com</code>, <code>https://*.example.com</code>, <code>http://localhost:*</code>, <code>*</code>.</>}>
          {(id, hintId) => (
            <textarea id={id} name="origins" class="mono" rows={3} aria-describedby={hintId} spellcheck={false} defaultValue={project.origins.join('\n')} />
          )}
        </Field>
      </Form>
      {project.state !== 'deleting' && (
        <section class="grave" aria-labelledby="grave">
          <h3 id="grave">Suspend or delete</h3>
          <div class="buttons">
            <button onClick={() => setOpen('state')}>{project.state === 'active' ? 'Suspend project' : 'Resume project'}</button>
            <button class="danger" onClick={() => setOpen('delete')}>Delete project</button>
          </div>
        </section>
      )}
      {open === 'state' && (
        <Suspension kind="project" path={path} name={project.name} state={project.state} onClose={close} onDone={() => { close(); onChange() }} />
      )}
      {open === 'delete' && (
        <Confirm title={`Delete ${project.name}?`} act="Delete project" type={project.name} onClose={close} submit={remove}>
          <p>Its topics with all they hold, its keys and its policies go with it. It cannot be undone.</p>
        </Confirm>
      )}
    </section>
  )
}
