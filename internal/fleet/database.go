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
	server string // connection strings
	url    string
	name   string
}

func createDatabase(ctx context.Context, server string) (database, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return database{}, fmt.Errorf("read the address of the database server: %w", err)
	}
	d := database{server: server, name: "holdfast_" + strings.ToLower(rand.Text())}
	parsed.Path = "/" + d.name
	d.url = parsed.String()
	if err := execute(ctx, server, "CREATE DATABASE "+d.name); err != nil {
		return database{}, fmt.Errorf("create a database for this run: %w", err)
	}
	return d, nil
}

// dropTimeout bounds the clearing up when everything is being stopped.
const dropTimeout = 10 * time.Second

func (d database) drop() error {
	if d.name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	if err := execute(ctx, d.server, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)"); err != nil {
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
