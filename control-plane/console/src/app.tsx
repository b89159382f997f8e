// The console: the frame around all pages, and which page an address shows.

import { createContext } from 'preact'
import { useContext, useRef } from 'preact/hooks'
import { Problem, ask, get } from './api'
import { useLoaded } from './load'
import { AuditPage } from './pages/audit'
import { ClusterPage } from './pages/cluster'
import { ProjectPage } from './pages/project'
import { SignIn } from './pages/sign-in'
import { TenantPage } from './pages/tenant'
import { TenantsPage } from './pages/tenants'
import { Link, useRoute } from './router'
import * as session from './session'
import type { Settings } from './shapes'
import { ThemeSwitch } from './theme'
import { Announcements } from './ui/announce'
import { Show } from './ui/loaded'
import { Page } from './ui/page'

/** What is the same on all pages. */
interface Known extends Settings { isOperator: boolean }

const Context = createContext<Known>({ nodes: [], isOperator: false })

export const useKnown = () => useContext(Context)

export function App () {
  const { credential, farewell } = session.useSession()
  return (
    <>
      <Announcements />
      {credential === null ? <SignIn farewell={farewell} /> : <Inside />}
    </>
  )
}

function Inside () {
  const route = useRoute()
  const main = useRef<HTMLElement>(null)
  const known = useLoaded(readKnown, [])
  const isOperator = known.value?.isOperator ?? false
  const is = (name: string) => (route[0] ?? 'tenants') === name
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>Skip to the page</button>
      <header>
        <a class="brand" href="#/"><img src="icon.svg" alt="" width="24" height="24" /> Highwater</a>
        <nav aria-label="Console">
          <ul>
            <li><Link to={['tenants']} current={is('tenants')}>Tenants</Link></li>
            {isOperator && <li><Link to={['cluster']} current={is('cluster')}>Cluster</Link></li>}
            {isOperator && <li><Link to={['audit']} current={is('audit')}>Audit</Link></li>}
            <li><a href="/docs/">API</a></li>
          </ul>
        </nav>
        <div class="end">
          <ThemeSwitch />
          <button type="button" onClick={() => session.end()}>Sign out</button>
        </div>
      </header>
      <main ref={main} tabIndex={-1}>
        <Show of={known}>
          {known => <Context.Provider value={known}><Routed route={route} /></Context.Provider>}
        </Show>
      </main>
    </>
  )
}

/** Only operators may see the cluster, so that tells them. */
async function readKnown (signal: AbortSignal): Promise<Known> {
  const [settings, cluster] = await Promise.all([
    get<Settings>('settings.json', undefined, signal),
    ask('GET', '/v1/cluster', { signal }).then(() => true, (error: unknown) => {
      // Nodes that are away are no reason to show nothing: what is not for this caller will be refused.
      const status = Problem.from(error).status
      if (status === 401 || status === 0) throw error
      return status !== 403
    })
  ])
  return { ...settings, isOperator: cluster }
}

function Routed ({ route }: { route: string[] }) {
  const [kind = 'tenants', tenant, second, third, fourth] = route
  if (kind === 'tenants' && tenant === undefined) return <TenantsPage key="tenants" />
  if (kind === 'tenants' && tenant !== undefined) {
    if (second === 'projects' && third !== undefined) {
      return <ProjectPage key={third} tenant={tenant} project={third} section={fourth ?? 'keys'} />
    }
    return <TenantPage key={tenant} tenant={tenant} section={second ?? 'projects'} />
  }
  if (kind === 'cluster') return <ClusterPage key="cluster" />
  if (kind === 'audit') return <AuditPage key="audit" />
  return <Page key="none" title="Nothing here"><p>There is no such page. <Link to={['tenants']}>Tenants</Link></p></Page>
}
