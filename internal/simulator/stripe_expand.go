package simulator

import (
	"encoding/json"
	"slices"
	"strings"
)

// expandable refers to an object: in JSON its id, or the object itself where the request asked for
// it, or null when it refers to none.
type expandable struct {
	id     string
	object any
}

func (e expandable) MarshalJSON() ([]byte, error) {
	if e.object != nil {
		return json.Marshal(e.object)
	}
	return json.Marshal(nullable(e.id))
}

// expansion is the paths that a request wants expanded, as they are within one object.
type expansion []string

// readExpand reads the paths that a request wants expanded. In a list call they begin with "data.".
func readExpand(p params, prefix string, allowed ...string) (expansion, *stripeError) {
	var wanted expansion
	for _, given := range p.hash("expand").values() {
		path, isWithin := strings.CutPrefix(given, prefix)
		if !isWithin || !slices.Contains(allowed, path) {
			return nil, invalidRequest("", "expand", "This property cannot be expanded ("+given+").")
		}
		wanted = append(wanted, path)
	}
	return wanted, nil
}

// includes says whether the object at the path, or one within it, is wanted.
func (e expansion) includes(path string) bool {
	return slices.ContainsFunc(e, func(wanted string) bool {
		return wanted == path || strings.HasPrefix(wanted, path+".")
	})
}
