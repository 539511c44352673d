// Plays a stream with gortmplib, the RTMP library of MediaMTX, and publishes it under another name, to the end of the stream:
// gortmplib PLAY-URL PUBLISH-URL. Prints the number of frames of each codec as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/codecs"
)

// Time to connect, and the longest time without a message.
const limit = 30 * time.Second

func main() {
	player := connect(os.Args[1], false)
	reader := &gortmplib.Reader{Conn: player}
	player.NetConn().SetReadDeadline(time.Now().Add(limit))
	check(reader.Initialize())

	publisher := connect(os.Args[2], true)
	writer := &gortmplib.Writer{Conn: publisher, Tracks: reader.Tracks()}
	check(writer.Initialize())

	frames := map[string]int{}
	for _, track := range reader.Tracks() {
		forward(reader, writer, track, frames)
	}
	for {
		player.NetConn().SetReadDeadline(time.Now().Add(limit))
		if err := reader.Read(); err != nil {
			log.Print(err)
			break
		}
	}
	publisher.Close()
	printed, err := json.Marshal(frames)
	check(err)
	fmt.Println(string(printed))
}

func connect(address string, publish bool) *gortmplib.Client {
	parsed, err := url.Parse(address)
	check(err)
	client := &gortmplib.Client{URL: parsed, Publish: publish}
	within, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	check(client.Initialize(within))
	return client
}

func forward(reader *gortmplib.Reader, writer *gortmplib.Writer, track *gortmplib.Track, frames map[string]int) {
	count := func(codec string, err error) {
		check(err)
		frames[codec]++
	}
	switch track.Codec.(type) {
	case *codecs.H264:
		reader.OnDataH264(track, func(pts, dts time.Duration, unit [][]byte) {
			count("H.264", writer.WriteH264(track, pts, dts, unit))
		})
	case *codecs.H265:
		reader.OnDataH265(track, func(pts, dts time.Duration, unit [][]byte) {
			count("HEVC", writer.WriteH265(track, pts, dts, unit))
		})
	case *codecs.AV1:
		reader.OnDataAV1(track, func(pts time.Duration, unit [][]byte) {
			count("AV1", writer.WriteAV1(track, pts, unit))
		})
	case *codecs.MPEG4Audio:
		reader.OnDataMPEG4Audio(track, func(pts time.Duration, unit []byte) {
			count("AAC", writer.WriteMPEG4Audio(track, pts, unit))
		})
	case *codecs.Opus:
		reader.OnDataOpus(track, func(pts time.Duration, packet []byte) {
			count("Opus", writer.WriteOpus(track, pts, packet))
		})
	default:
		log.Fatalf("a track of %T", track.Codec)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
