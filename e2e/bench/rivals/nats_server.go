package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serveNATS runs one clustered JetStream server on loopback until it is told to stop.
func serveNATS(args []string) error {
	flags := flag.NewFlagSet("nats-server", flag.ExitOnError)
	name := flags.String("name", "", "name of the server, unique in the cluster")
	port := flags.Int("port", 0, "port for clients")
	webSocketPort := flags.Int("websocket-port", 0, "port for clients in WebSockets")
	mqttPort := flags.Int("mqtt-port", 0, "port for clients of MQTT")
	clusterPort := flags.Int("cluster-port", 0, "port for the other servers")
	routes := flags.String("routes", "", "cluster ports of all servers, divided by commas")
	dir := flags.String("dir", "", "folder of the store")
	syncAlways := flags.Bool("sync-always", false, "sync_interval: always, instead of every two minutes")
	flags.Parse(args)

	var peers []*url.URL
	for _, peer := range strings.Split(*routes, ",") {
		peers = append(peers, &url.URL{Scheme: "nats", Host: "127.0.0.1:" + peer})
	}
	options := &server.Options{
		ServerName: *name,
		Host:       "127.0.0.1",
		Port:       *port,
		JetStream:  true,
		StoreDir:   *dir,
		SyncAlways: *syncAlways,
		NoSigs:     true,
		// Subscribers that only count bytes answer no pings.
		PingInterval: time.Hour,
		Websocket:    server.WebsocketOpts{Host: "127.0.0.1", Port: *webSocketPort, NoTLS: true},
		MQTT:         server.MQTTOpts{Host: "127.0.0.1", Port: *mqttPort, StreamReplicas: 3},
		Routes:       peers,
		Cluster: server.ClusterOpts{
			Name: "rivals",
			Host: "127.0.0.1",
			Port: *clusterPort,
		},
	}
	instance, err := server.NewServer(options)
	if err != nil {
		return err
	}
	instance.ConfigureLogger()
	go instance.Start()
	if !instance.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("the server does not accept connections")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	instance.Shutdown()
	return nil
}
