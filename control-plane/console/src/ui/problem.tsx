// A refusal as people read it, with what to name in a question about it.

import { useEffect, useRef } from 'preact/hooks'
import { Problem } from '../api'

export function ProblemView ({ error, onRetry }: { error: unknown, onRetry?: () => void }) {
  const place = useRef<HTMLDivElement>(null)
  // In a long form it may be out of sight.
  useEffect(() => place.current?.scrollIntoView({ block: 'nearest' }), [error])
  const problem = Problem.from(error)
  return (
    <div class="problem" role="alert" ref={place}>
      <p><strong>{upper(problem.title)}</strong></p>
      {problem.detail && problem.detail !== problem.title && <p>{sentence(problem.detail)}</p>}
      {problem.nextStep && <p>{sentence(problem.nextStep)}</p>}
      {problem.requestId && <p class="quiet">Request <code>{problem.requestId}</code></p>}
      {onRetry && <button type="button" onClick={onRetry}>Try again</button>}
    </div>
  )
}

/** The service speaks in lower case and without a full stop. */
function sentence (text: string): string {
  return upper(/[.!?]$/.test(text) ? text : `${text}.`)
}

function upper (text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
