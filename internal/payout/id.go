package payout

import "regexp"

var idPattern = regexp.MustCompile(`^po_[a-z0-9]{24}$`)

// ValidID says whether the text can be a payout's id.
func ValidID(id string) bool { return idPattern.MatchString(id) }
