// The rivals of the benchmark in one program: a NATS JetStream server and the load that is put on it.
//
// The load has the shapes of the other contenders (publishers, messages in flight each, payload
// size) and prints its result as one line of JSON on stdout.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: rivals nats-server|nats-load [flags]"))
	}
	var err error
	switch command, flags := os.Args[1], os.Args[2:]; command {
	case "nats-server":
		err = serveNATS(flags)
	case "nats-load":
		err = loadNATS(flags)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "rivals:", err)
	os.Exit(1)
}
