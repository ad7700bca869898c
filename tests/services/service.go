// A server and a client on Go's net/http. `service server`, or `service client ADDRESS TASKS EACH`.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

type content struct {
	Bytes  int    `json:"bytes"`
	Sha256 string `json:"sha256"`
}

type request struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Headers [][2]string `json:"headers"`
	Body    content     `json:"body"`
}

type response struct {
	Status  int         `json:"status"`
	Headers [][2]string `json:"headers"`
	Body    content     `json:"body"`
}

type exchange struct {
	Role     string   `json:"role"`
	Request  request  `json:"request"`
	Response response `json:"response"`
}

var (
	mutex sync.Mutex
	log   *os.File
)

func contentOf(body []byte) content {
	sum := sha256.Sum256(body)
	return content{len(body), hex.EncodeToString(sum[:])}
}

func note(role, method, target string, sent []byte, status int, received []byte) {
	line, err := json.Marshal(exchange{
		role, request{Method: method, Target: target, Body: contentOf(sent)}, response{Status: status, Body: contentOf(received)},
	})
	check(err)
	mutex.Lock()
	defer mutex.Unlock()
	_, err = log.Write(append(line, '\n'))
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var err error
	log, err = os.OpenFile(os.Getenv("TRUTH"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err)
	if os.Args[1] == "server" {
		serve()
	} else {
		call(os.Args[2], number(os.Args[3]), number(os.Args[4]))
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		check(err)
		parts := strings.Split(r.URL.Path, "/")
		name := parts[len(parts)-1]
		status, answer := 404, []byte("not here\n")
		switch parts[1] {
		case "get", "chunked":
			size := number(parts[2])
			status, answer = 200, []byte(strings.Repeat(name, size/len(name)+1)[:size])
		case "echo":
			status, answer = 201, []byte(strings.ToUpper(string(body)))
		}
		w.Header().Set("X-Echo-Id", name)
		if parts[1] != "chunked" {
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		}
		w.WriteHeader(status)
		if r.Method == "HEAD" {
			answer = nil
		}
		_, _ = w.Write(answer[:len(answer)/2])
		if parts[1] == "chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(answer[len(answer)/2:])
		note("server", r.Method, r.RequestURI, body, status, answer)
	}
	go func() { check(http.Serve(listener, http.HandlerFunc(handler))) }()
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
}

func call(address string, tasks, each int) {
	fmt.Println("ready")
	_, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n')
	check(err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: tasks}}
	one := func(method, path string, body io.Reader, sent string) {
		r, err := http.NewRequest(method, "http://"+address+path, body)
		check(err)
		response, err := client.Do(r)
		check(err)
		answer, err := io.ReadAll(response.Body)
		check(err)
		check(response.Body.Close())
		note("client", method, path, []byte(sent), response.StatusCode, answer)
	}
	var group sync.WaitGroup
	for task := 0; task < tasks; task++ {
		group.Add(1)
		go func(task int) {
			defer group.Done()
			for n := 0; n < each; n++ {
				name := fmt.Sprintf("g%d-%d", task, n)
				switch n % 5 {
				case 0:
					one("GET", fmt.Sprintf("/get/%d/%s", n*13, name), nil, "")
				case 1:
					body := strings.Repeat(name, n)
					one("POST", "/echo/"+name, strings.NewReader(body), body)
				case 2:
					one("GET", fmt.Sprintf("/chunked/%d/%s", n*11, name), nil, "")
				case 3:
					body := "of no length known before," + name
					one("POST", "/echo/"+name, io.MultiReader(strings.NewReader(body)), body)
				default:
					one("GET", "/status/503/"+name, nil, "")
				}
			}
		}(task)
	}
	group.Wait()
	fmt.Println("done")
}
