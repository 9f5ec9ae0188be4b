package localstack

// Processes are those that Start started.
func (s *Stack) Processes() []*Process { return []*Process{s.Postgres.process, s.Temporal.process} }
