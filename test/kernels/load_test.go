// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/leno-mesh/leno/internal/kern"
)

// The committed object passes this kernel's verifier. The whole log of a refusal is printed: it is what one needs.
func TestObjectLoads(t *testing.T) {
	needRoot(t)
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := kern.LoadC()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone // what runs here is not to be joined
	}
	collection, err := ebpf.NewCollection(spec)
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) {
		t.Fatalf("the verifier refused: %+v", refused)
	} else if err != nil {
		t.Fatal(err)
	}
	defer collection.Close()
	for name, p := range collection.Programs {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := info.VerifiedInstructions()
		t.Logf("%s: %d instructions looked at", name, n)
	}
}
