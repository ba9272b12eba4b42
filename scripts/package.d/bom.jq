# From the output of `cargo metadata`: what the tools are linked from, tests and build scripts left out, as CycloneDX.
(.packages | map({key: .id, value: .}) | from_entries) as $packages
| (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $needs
| ["mm-path", "mm-fetch", "mm-backup", "mm-pgbump", "mm-swap", "mm-verify"] as $tools
| def closure: . as $have | ([$have[], ($have[] | $needs[.][])] | unique) as $more | if $more == $have then $have else $more | closure end;
  ([.packages[] | select(.source == null and (.name | IN($tools[]))) | .id] | unique | closure) as $linked
| def purl: "pkg:cargo/\(.name)@\(.version)";
  {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {component: {type: "application", name: "mm-tools", version: $version, "bom-ref": "mm-tools"}},
    components: [
      $linked[] | $packages[.] | select(.source != null)
      | {type: "library", name, version, purl: purl, "bom-ref": purl}
        + (if .license then {licenses: [{expression: (.license | gsub("/"; " OR "))}]} else {} end)
    ] | sort_by(.purl),
    dependencies: ([
      $linked[] | select($packages[.].source != null)
      | {ref: ($packages[.] | purl), dependsOn: ([$needs[.][] | $packages[.] | purl] | sort)}
    ] | sort_by(.ref))
  }
