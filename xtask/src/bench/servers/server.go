// The server of Go's tutorials: a goroutine, a buffer and a loop for each connection.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	talk := raw
	if os.Args[1] == "line" {
		talk = lines
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go talk(conn)
	}
}

func raw(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	for {
		count, err := conn.Read(buffer)
		if err != nil {
			return
		}
		upper(buffer[:count])
		if _, err := conn.Write(buffer[:count]); err != nil {
			return
		}
	}
}

func lines(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		if _, err := conn.Write(bytes.ToUpper(line)); err != nil {
			return
		}
	}
}

func upper(text []byte) {
	for place, letter := range text {
		if 'a' <= letter && letter <= 'z' {
			text[place] = letter - ('a' - 'A')
		}
	}
}
