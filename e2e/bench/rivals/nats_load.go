package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// loadNATS publishes to one replicated stream and waits for its acks.
func loadNATS(args []string) error {
	flags := flag.NewFlagSet("nats-load", flag.ExitOnError)
	urls := flags.String("urls", "", "addresses of the servers, divided by commas")
	publishers := flags.Int("publishers", 1, "connections that publish")
	inFlight := flags.Int("in-flight", 1, "unacknowledged messages of each publisher")
	size := flags.Int("size", 128, "payload bytes")
	seconds := flags.Float64("seconds", 5, "how long to publish")
	flags.Parse(args)

	servers := strings.Join(strings.Split(*urls, ","), ",")
	subject, err := createStream(servers)
	if err != nil {
		return err
	}

	payload := make([]byte, *size)
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	start := time.Now()
	results := make([][]time.Duration, *publishers)
	errs := make([]error, *publishers)
	var running sync.WaitGroup
	for i := range *publishers {
		running.Go(func() {
			results[i], errs[i] = publish(servers, subject, payload, *inFlight, end)
		})
	}
	running.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	var all []time.Duration
	for _, one := range results {
		all = append(all, one...)
	}
	return report(all, elapsed)
}

// createStream makes a stream with three replicas and returns the subject it takes.
func createStream(servers string) (string, error) {
	// The servers may still be starting.
	connection, err := nats.Connect(servers,
		nats.RetryOnFailedConnect(true), nats.ReconnectWait(100*time.Millisecond), nats.MaxReconnects(300))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("load-%d", time.Now().UnixNano())
	config := jetstream.StreamConfig{Name: name, Subjects: []string{name}, Replicas: 3}
	// The servers find each other and elect the leader of their metadata first.
	for deadline := time.Now().Add(30 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err = js.CreateStream(ctx, config)
		cancel()
		if err == nil || time.Now().After(deadline) {
			return name, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

type pending struct {
	sent time.Time
	ack  jetstream.PubAckFuture
}

// publish keeps a number of messages in flight over a connection of its own until the end, and
// returns how long each ack took.
func publish(servers, subject string, payload []byte, inFlight int, end time.Time) ([]time.Duration, error) {
	connection, err := nats.Connect(servers)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	js, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(inFlight+1))
	if err != nil {
		return nil, err
	}
	var latencies []time.Duration
	if inFlight == 1 {
		for time.Now().Before(end) {
			sent := time.Now()
			if _, err := js.Publish(context.Background(), subject, payload); err != nil {
				return nil, err
			}
			latencies = append(latencies, time.Since(sent))
		}
		return latencies, nil
	}

	// Two more are held by the sender and the receiver of the queue.
	queue := make(chan pending, inFlight-2)
	failure := make(chan error, 1)
	go func() {
		defer close(failure)
		for next := range queue {
			select {
			case <-next.ack.Ok():
				latencies = append(latencies, time.Since(next.sent))
			case err := <-next.ack.Err():
				failure <- err
				for range queue {
				}
				return
			}
		}
	}()
	for time.Now().Before(end) {
		sent := time.Now()
		ack, err := js.PublishAsync(subject, payload)
		if err != nil {
			close(queue)
			return nil, err
		}
		queue <- pending{sent, ack}
	}
	close(queue)
	err = <-failure
	return latencies, err
}

// report prints the result in the form every contender's load uses.
func report(latencies []time.Duration, elapsed time.Duration) error {
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	quantile := func(q float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		at := int(q * float64(len(latencies)-1))
		return float64(latencies[at]) / float64(time.Microsecond)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"messages": len(latencies),
		"seconds":  elapsed.Seconds(),
		"p50_us":   quantile(0.50),
		"p99_us":   quantile(0.99),
		"p999_us":  quantile(0.999),
	})
}
