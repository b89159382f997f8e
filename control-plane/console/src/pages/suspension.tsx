// Suspending a tenant or a project, and letting it go on.

import { ask } from '../api'
import type { State } from '../shapes'
import { Confirm } from '../ui/dialog'
import { announce } from '../ui/announce'

interface Suspended {
  kind: 'tenant' | 'project'
  path: string
  name: string
  state: State
  onClose: () => void
  onDone: () => void
}

export function Suspension ({ kind, path, name, state, onClose, onDone }: Suspended) {
  const isActive = state === 'active'
  const to: State = isActive ? 'suspended' : 'active'
  const submit = async () => {
    await ask('PATCH', path, { body: { state: to } })
    announce(`${name} is ${to}`)
    onDone()
  }
  return (
    <Confirm title={`${isActive ? 'Suspend' : 'Resume'} ${name}?`} act={isActive ? 'Suspend' : 'Resume'} onClose={onClose} submit={submit}>
      {isActive
        ? <p>Connections of this {kind} are closed within moments, and nobody gets in with its keys and tokens until it is resumed. Nothing is lost.</p>
        : <p>Its keys and tokens open it again.</p>}
    </Confirm>
  )
}
