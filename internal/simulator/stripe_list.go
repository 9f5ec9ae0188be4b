package simulator

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
)

// listable is an object that list calls return, newest first.
type listable interface {
	objectID() string
	createdAt() int64 // Unix seconds
}

// collection holds the objects of one kind. Its zero value is empty and ready.
type collection[T listable] struct {
	byID        map[string]T
	oldestFirst []T
}

func (c *collection[T]) get(id string) (T, bool) {
	object, ok := c.byID[id]
	return object, ok
}

// add puts the object in its place by time of creation, replacing the one with the same id.
func (c *collection[T]) add(object T) {
	if c.byID == nil {
		c.byID = map[string]T{}
	}
	c.remove(object.objectID())
	c.byID[object.objectID()] = object
	at := len(c.oldestFirst)
	for at > 0 && c.oldestFirst[at-1].createdAt() > object.createdAt() {
		at--
	}
	c.oldestFirst = slices.Insert(c.oldestFirst, at, object)
}

func (c *collection[T]) remove(id string) {
	if at, known := c.position(id); known {
		c.oldestFirst = slices.Delete(c.oldestFirst, at, at+1)
		delete(c.byID, id)
	}
}

// stripeList is a page of a list call.
type stripeList[T any] struct {
	Object  string `json:"object"`
	URL     string `json:"url"`
	HasMore bool   `json:"has_more"`
	Data    []T    `json:"data"`
}

// listQuery is what every list call understands.
type listQuery struct {
	limit         int
	startingAfter string // the object that comes right before the page; empty begins with the newest
	endingBefore  string // the object that comes right after the page
	created       timeRange
}

// withListParams are the parameters of a list call: its own, and those that every list has.
func withListParams(own map[string]paramKind) map[string]paramKind {
	all := map[string]paramKind{"limit": aText, "starting_after": aText, "ending_before": aText, "created": aRange}
	maps.Copy(all, own)
	return all
}

func readListQuery(p params) (listQuery, *stripeError) {
	const defaultLimit, maxLimit = 10, 100
	limit, problem := p.integer("limit", 1, maxLimit, defaultLimit)
	if problem != nil {
		return listQuery{}, problem
	}
	q := listQuery{limit: int(limit), startingAfter: p.text("starting_after"), endingBefore: p.text("ending_before")}
	if q.startingAfter != "" && q.endingBefore != "" {
		return listQuery{}, invalidRequest("parameters_exclusive", "ending_before",
			"You may only specify one of these parameters: starting_after, ending_before.")
	}
	q.created, problem = p.readRange("created")
	return q, problem
}

// timeRange is from the oldest to the newest Unix second, both included.
type timeRange struct{ oldest, newest int64 }

func (r timeRange) includes(moment int64) bool { return r.oldest <= moment && moment <= r.newest }

// always is the range of all times.
func always() timeRange { return timeRange{oldest: math.MinInt64, newest: math.MaxInt64} }

// readRange reads one moment, or the bounds of a range; all times if it was not given.
func (p params) readRange(param string) (timeRange, *stripeError) {
	r := always()
	bounds := p.hash(param)
	if p.has(param) && bounds == nil {
		moment, problem := p.integer(param, 0, math.MaxInt32, 0)
		return timeRange{oldest: moment, newest: moment}, problem
	}
	problem := bounds.only(map[string]paramKind{"gt": aText, "gte": aText, "lt": aText, "lte": aText})
	if problem != nil {
		return r, problem
	}
	for name := range bounds {
		moment, problem := bounds.integer(name, 0, math.MaxInt32, 0)
		if problem != nil {
			problem.Param = param + "[" + name + "]"
			return r, problem
		}
		switch name {
		case "gt":
			r.oldest = max(r.oldest, moment+1)
		case "gte":
			r.oldest = max(r.oldest, moment)
		case "lt":
			r.newest = min(r.newest, moment-1)
		case "lte":
			r.newest = min(r.newest, moment)
		}
	}
	return r, nil
}

// page lists what is kept by the filter, newest first: from behind the object that the query starts
// after, or up to the one that it ends before. The kind ("customer") is for the error when that
// object does not exist.
func (c *collection[T]) page(q listQuery, url, kind string, keep func(T) bool) (stripeList[T], *stripeError) {
	list := stripeList[T]{Object: "list", URL: url, Data: []T{}}
	candidates, problem := c.from(q, kind)
	if problem != nil {
		return list, problem
	}
	for object := range candidates {
		if !q.created.includes(object.createdAt()) || !keep(object) {
			continue
		}
		if len(list.Data) == q.limit {
			list.HasMore = true
			break
		}
		list.Data = append(list.Data, object)
	}
	if q.endingBefore != "" {
		slices.Reverse(list.Data)
	}
	return list, nil
}

// from goes through the objects from where the query begins: to older ones, or to newer ones if it
// says what the page ends before.
func (c *collection[T]) from(q listQuery, kind string) (iter.Seq[T], *stripeError) {
	switch {
	case q.startingAfter != "":
		at, ok := c.position(q.startingAfter)
		if !ok {
			return nil, missingParam("starting_after", kind, q.startingAfter)
		}
		return backward(c.oldestFirst[:at]), nil
	case q.endingBefore != "":
		at, ok := c.position(q.endingBefore)
		if !ok {
			return nil, missingParam("ending_before", kind, q.endingBefore)
		}
		return slices.Values(c.oldestFirst[at+1:]), nil
	}
	return backward(c.oldestFirst), nil
}

func (c *collection[T]) position(id string) (at int, ok bool) {
	object, ok := c.byID[id]
	if !ok {
		return 0, false
	}
	first, _ := slices.BinarySearchFunc(c.oldestFirst, object.createdAt(), func(o T, created int64) int {
		return cmp.Compare(o.createdAt(), created)
	})
	return first + slices.IndexFunc(c.oldestFirst[first:], func(o T) bool { return o.objectID() == id }), true
}

func backward[T any](all []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, object := range slices.Backward(all) {
			if !yield(object) {
				return
			}
		}
	}
}

// retrieve is the operation that shows the object in the path. The kind is for the error when it
// does not exist.
func retrieve[T listable](kind string, from *collection[T]) stripeOperation {
	return func(r stripeRequest) (stripeWork, *stripeError) {
		if problem := r.params.only(nil); problem != nil {
			return nil, problem
		}
		return func() (any, *stripeError) {
			object, ok := from.get(r.id)
			if !ok {
				return nil, missing(kind, r.id)
			}
			return object, nil
		}, nil
	}
}

// keepNewest forgets the oldest once there are twice as many as are to be kept.
func (c *collection[T]) keepNewest(kept int) {
	if len(c.oldestFirst) < 2*kept {
		return
	}
	forgotten := len(c.oldestFirst) - kept
	for _, object := range c.oldestFirst[:forgotten] {
		delete(c.byID, object.objectID())
	}
	c.oldestFirst = slices.Clone(c.oldestFirst[forgotten:])
}
