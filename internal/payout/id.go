package payout

import "regexp"

var idPattern = regexp.MustCompile(`^po_[a-z0-9]{24}$`)

// ValidID says whether the text can be a payout's id.
func ValidID(id string) bool { return idPattern.MatchString(id) }

var batchIDPattern = regexp.MustCompile(`^pb_[a-z0-9]{24}$`)

// ValidBatchID says whether the text can be the id of a batch at PayPal.
func ValidBatchID(id string) bool { return batchIDPattern.MatchString(id) }
