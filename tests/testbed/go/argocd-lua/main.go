// Argo CD's own Lua engine, with customizations as argocd-cm holds them: reads questions as JSON, one a line, and prints the
// answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
)

type question struct {
	// The object, as JSON.
	Object json.RawMessage `json:"object"`
	// The customizations of its kind: `<group>/<kind>`, and the two texts.
	Kind    string `json:"kind"`
	Health  string `json:"health"`
	Actions string `json:"actions"`
	// `health`, `discovery`, or `action` with its name and parameters.
	Ask        string            `json:"ask"`
	Action     string            `json:"action"`
	Parameters map[string]string `json:"parameters"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		said, err := answer(&asked)
		if err != nil {
			said = map[string]string{"error": err.Error()}
		}
		if err := answers.Encode(said); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func answer(asked *question) (any, error) {
	object, err := v1alpha1.UnmarshalToUnstructured(string(asked.Object))
	if err != nil {
		return nil, err
	}
	overrides := map[string]v1alpha1.ResourceOverride{asked.Kind: {HealthLua: asked.Health, Actions: asked.Actions}}
	vm := lua.VM{ResourceOverrides: overrides}
	switch asked.Ask {
	case "health":
		return lua.ResourceHealthOverrides(overrides).GetResourceHealth(object)
	case "discovery":
		scripts, err := vm.GetResourceActionDiscovery(object)
		if err != nil {
			return nil, err
		}
		return vm.ExecuteResourceActionDiscovery(object, scripts)
	case "action":
		action, err := vm.GetResourceAction(object, asked.Action)
		if err != nil {
			return nil, err
		}
		var parameters []*application.ResourceActionParameters
		for name, value := range asked.Parameters {
			parameters = append(parameters, &application.ResourceActionParameters{Name: &name, Value: &value})
		}
		return vm.ExecuteResourceAction(object, action.ActionLua, parameters)
	}
	return nil, fmt.Errorf("nobody knows how to answer %q", asked.Ask)
}
