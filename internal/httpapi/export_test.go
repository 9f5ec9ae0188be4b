package httpapi

// MaxRepairs is how many repairs wait at most.
const MaxRepairs = maxRepairs
