// What a key or a token allows, as it is edited.

import type { Operation, Permission } from '../shapes'
import { TextField } from '../ui/form'

const OPERATIONS: Operation[] = ['publish', 'subscribe', 'manage']

export const EVERYTHING: Permission[] = [{ operations: ['publish', 'subscribe'], topics: '#' }]

interface Edited { value: Permission[], onChange: (to: Permission[]) => void }

export function PermissionsField ({ value, onChange }: Edited) {
  const set = (at: number, to: Permission) => onChange(value.map((permission, n) => n === at ? to : permission))
  return (
    <fieldset>
      <legend>Permissions</legend>
      {value.map((permission, at) => (
        <fieldset class="row" key={at}>
          <legend class="unseen">Permission {at + 1}</legend>
          <TextField label="Topics" name={`topics-${at}`} mono required value={permission.topics} onInput={topics => set(at, { ...permission, topics })} />
          <div class="checks">
            {OPERATIONS.map(operation => (
              <label class="check" key={operation}>
                <input
                  type="checkbox"
                  checked={permission.operations.includes(operation)}
                  onChange={event => set(at, { ...permission, operations: toggled(permission.operations, operation, event.currentTarget.checked) })}
                />
                {' '}{operation}
              </label>
            ))}
            {value.length > 1 && <button type="button" onClick={() => onChange(value.filter((_, n) => n !== at))}>Remove<span class="unseen"> permission {at + 1}</span></button>}
          </div>
        </fieldset>
      ))}
      <button type="button" onClick={() => onChange([...value, { operations: ['subscribe'], topics: '#' }])}>Add permission</button>
      <p class="hint">Topics are a filter: <code>orders/#</code>, <code>devices/+/state</code>. <em>manage</em> lists and deletes topics.</p>
    </fieldset>
  )
}

function toggled (operations: Operation[], one: Operation, isOn: boolean): Operation[] {
  return OPERATIONS.filter(operation => operation === one ? isOn : operations.includes(operation))
}
