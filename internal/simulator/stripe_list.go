package simulator

import (
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
	if _, known := c.byID[object.objectID()]; known {
		c.oldestFirst = slices.DeleteFunc(c.oldestFirst, func(o T) bool { return o.objectID() == object.objectID() })
	}
	c.byID[object.objectID()] = object
	at := len(c.oldestFirst)
	for at > 0 && c.oldestFirst[at-1].createdAt() > object.createdAt() {
		at--
	}
	c.oldestFirst = slices.Insert(c.oldestFirst, at, object)
}

// stripeList is a page of a list call.
type stripeList[T listable] struct {
	Object  string `json:"object"`
	URL     string `json:"url"`
	HasMore bool   `json:"has_more"`
	Data    []T    `json:"data"`
}

// listQuery is what every list call understands.
type listQuery struct {
	limit          int
	startingAfter  string
	oldest, newest int64 // bounds of created, both included
}

// withListParams are the parameters of a list call: its own, and those that every list has.
func withListParams(own map[string]paramKind) map[string]paramKind {
	all := map[string]paramKind{"limit": aText, "starting_after": aText, "created": aHash}
	maps.Copy(all, own)
	return all
}

func readListQuery(p params) (listQuery, *stripeError) {
	const defaultLimit, maxLimit = 10, 100
	limit, problem := p.integer("limit", 1, maxLimit, defaultLimit)
	if problem != nil {
		return listQuery{}, problem
	}
	q := listQuery{
		limit: int(limit), startingAfter: p.text("starting_after"),
		oldest: math.MinInt64, newest: math.MaxInt64,
	}
	return q, q.readCreated(p.hash("created"))
}

func (q *listQuery) readCreated(created params) *stripeError {
	problem := created.only(map[string]paramKind{"gt": aText, "gte": aText, "lt": aText, "lte": aText})
	if problem != nil {
		return problem
	}
	for name := range created {
		moment, problem := created.integer(name, 0, math.MaxInt32, 0)
		if problem != nil {
			problem.Param = "created[" + name + "]"
			return problem
		}
		switch name {
		case "gt":
			q.oldest = max(q.oldest, moment+1)
		case "gte":
			q.oldest = max(q.oldest, moment)
		case "lt":
			q.newest = min(q.newest, moment-1)
		case "lte":
			q.newest = min(q.newest, moment)
		}
	}
	return nil
}

// page lists what is kept by the filter, newest first, from behind the object that the query
// starts after. The kind ("customer") is for the error when that object does not exist.
func (c *collection[T]) page(q listQuery, url, kind string, keep func(T) bool) (stripeList[T], *stripeError) {
	from := len(c.oldestFirst)
	if q.startingAfter != "" {
		from = slices.IndexFunc(c.oldestFirst, func(o T) bool { return o.objectID() == q.startingAfter })
		if from < 0 {
			return stripeList[T]{}, missingParam("starting_after", kind, q.startingAfter)
		}
	}
	list := stripeList[T]{Object: "list", URL: url, Data: []T{}}
	for _, object := range slices.Backward(c.oldestFirst[:from]) {
		if object.createdAt() < q.oldest || object.createdAt() > q.newest || !keep(object) {
			continue
		}
		if len(list.Data) == q.limit {
			list.HasMore = true
			break
		}
		list.Data = append(list.Data, object)
	}
	return list, nil
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
