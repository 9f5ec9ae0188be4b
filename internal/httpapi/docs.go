package httpapi

import (
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsPage string

// docsOperation is one call on the docs page.
type docsOperation struct {
	Method, Path string
	*huma.Operation
	Statuses []string
}

// routeDocs serves the description of the API as a page, made of the same document as
// /openapi.json, without anything from elsewhere.
func (a *API) routeDocs() {
	page := template.Must(template.New("docs").Parse(docsPage))
	a.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		if err := page.Execute(w, a.docsData()); err != nil {
			a.deps.Log.WarnContext(r.Context(), "the docs page was not sent whole", "error", err)
		}
	})
}

func (a *API) docsData() any {
	described := a.huma.OpenAPI()
	var operations []docsOperation
	for _, path := range slices.Sorted(maps.Keys(described.Paths)) {
		item := described.Paths[path]
		for _, o := range []struct {
			method    string
			operation *huma.Operation
		}{{"GET", item.Get}, {"POST", item.Post}, {"PATCH", item.Patch}, {"PUT", item.Put}} {
			if o.operation != nil {
				operations = append(operations, docsOperation{o.method, path, o.operation, slices.Sorted(maps.Keys(o.operation.Responses))})
			}
		}
	}
	return map[string]any{"Info": described.Info, "Operations": operations, "Schemas": described.Components.Schemas.Map()}
}
