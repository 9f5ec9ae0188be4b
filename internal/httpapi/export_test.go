package httpapi

// MaxRepairs is how many repairs wait at most.
const MaxRepairs = maxRepairs

// Polls is how many wait for a change.
func (a *API) Polls() int { return a.changes.Waiting() }
