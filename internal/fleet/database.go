package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is the fleet's own, in a server that may be somebody else's: what is in the server
// already is neither looked at nor changed.
type database struct {
	url  string
	drop func() error // nil: there is none
}

func createDatabase(ctx context.Context, server string) (database, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return database{}, fmt.Errorf("read the address of the database server: %w", err)
	}
	name := "holdfast_" + strings.ToLower(rand.Text())
	parsed.Path = "/" + name
	if err := execute(ctx, server, "CREATE DATABASE "+name); err != nil {
		return database{}, fmt.Errorf("create a database for this run: %w", err)
	}
	return database{url: parsed.String(), drop: func() error { return dropDatabase(ctx, server, name) }}, nil
}

// dropTimeout bounds the clearing up when everything is being stopped.
const dropTimeout = 10 * time.Second

// dropDatabase also works when ctx, the life of the fleet, has ended.
func dropDatabase(ctx context.Context, server, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if err := execute(ctx, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop the database of this run: %w", err)
	}
	return nil
}

func execute(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	return err
}
