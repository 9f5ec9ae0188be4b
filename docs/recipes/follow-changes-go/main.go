// Follow-changes shows how a Go back end learns of every change of its customers, with the standard
// library alone: it reads the feed from where it stopped the last time, waits for more, and keeps its
// place in a file. A real one keeps it in its database, in the transaction that acts on the changes.
//
//	HOLDFAST_URL=http://127.0.0.1:8080 HOLDFAST_KEY=… go run ./docs/recipes/follow-changes-go place.txt
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: follow-changes-go FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := follow(ctx, os.Args[1]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it what stop would end
	}
}

// follow reads the feed until ctx ends. When Holdfast is away for a while it goes on where it was.
func follow(ctx context.Context, placeFile string) error {
	after, err := readPlace(placeFile)
	if err != nil {
		return err
	}
	for {
		found, err := read(ctx, after)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
			continue
		}
		for _, c := range found.Data {
			fmt.Fprintf(os.Stdout, "%d %s %s %s\n", c.Seq, c.Type, c.CustomerID, c.Data) // act on it
		}
		// The place is kept after the changes were acted on: a crash between repeats some, and loses none.
		after = found.NextAfter
		if err := os.WriteFile(placeFile, []byte(strconv.FormatInt(after, 10)), 0o600); err != nil {
			return err
		}
	}
}

type changes struct {
	Data []struct {
		Seq        int64           `json:"seq"`
		Type       string          `json:"type"`
		CustomerID string          `json:"customer_id"`
		Data       json.RawMessage `json:"data"`
	} `json:"data"`
	NextAfter int64 `json:"next_after"`
}

// read asks for what comes after that number, and waits up to half a minute for it.
func read(ctx context.Context, after int64) (found changes, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "wait_ms": {"30000"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("HOLDFAST_URL")+"/v1/changes?"+query.Encode(), nil)
	if err != nil {
		return found, fmt.Errorf("HOLDFAST_URL: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("HOLDFAST_KEY"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return found, fmt.Errorf("reach Holdfast: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return found, fmt.Errorf("read the changes after %d: %s", after, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return found, fmt.Errorf("read the changes after %d: %w", after, err)
	}
	return found, nil
}

func readPlace(file string) (int64, error) {
	kept, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(kept)), 10, 64)
}
