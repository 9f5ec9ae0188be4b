package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Memory is what starter serve and the largest worker hold, in bytes.
type Memory struct{ Serve, Worker int64 }

// Memory asks the programs what they hold.
func (f *Fleet) Memory(ctx context.Context) (m Memory, err error) {
	if m.Serve, err = resident(ctx, f.MetricsURL()); err != nil {
		return m, err
	}
	for _, at := range f.workersAt {
		held, err := resident(ctx, "http://"+at+"/metrics")
		if err != nil {
			return m, err
		}
		m.Worker = max(m.Worker, held)
	}
	return m, nil
}

// resident reads the resident memory of the program whose metrics are there.
func resident(ctx context.Context, url string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		value, found := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes ")
		if !found {
			continue
		}
		bytes, err := strconv.ParseFloat(value, 64)
		return int64(bytes), err
	}
	return 0, errors.Join(fmt.Errorf("%s shows no process_resident_memory_bytes", url), lines.Err())
}
