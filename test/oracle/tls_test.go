// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"
)

// certificate is one that clients of the corpus do not check.
var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// tlsUpstream is a line server behind TLS.
type tlsUpstream struct {
	name string
	cert tls.Certificate
}

func (u *tlsUpstream) handle(c *net.TCPConn, _ int) {
	s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{u.cert}})
	if s.Handshake() == nil {
		echo(c, s, bufio.NewReader(s), u.name)
		s.Close()
	}
}

func (w *world) tlsPort(name string) (int, error) {
	cert, err := certificate()
	if err != nil {
		return 0, err
	}
	return w.once("tls "+name, func() (int, error) { return w.listen((&tlsUpstream{name, cert}).handle) })
}

// startTLS goes on over TLS: arg is the server name ("-": none) and the protocols to offer.
func startTLS(c *net.TCPConn, arg string) (*tls.Conn, error) {
	words := strings.Fields(arg)
	config := &tls.Config{InsecureSkipVerify: true} // the certificate is made up
	if len(words) > 0 && words[0] != "-" {
		config.ServerName = words[0]
	}
	if len(words) > 1 {
		config.NextProtos = words[1:]
	}
	s := tls.Client(c, config)
	return s, s.Handshake()
}
