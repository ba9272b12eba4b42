#!/usr/bin/python
# Licensed under MIT or Apache-2.0, as you like.
"""Runs one of the six mm-tools, and takes the outcome from the document that it writes."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: mm_tool
short_description: Run one of the mm-tools
description:
  - Runs a tool of mm-tools on the host and reads the document that it writes.
  - C(changed), C(failed) and C(msg) are those of the document. A tool that fails is reported with its message, the causes
    and the hint what to do next.
  - In check mode the tool runs with C(--dry-run); C(changed) then says whether it would change something.
options:
  tool:
    description: The tool.
    type: str
    required: true
    choices: [mm-path, mm-fetch, mm-backup, mm-pgbump, mm-swap, mm-verify]
  arguments:
    description: Verb and flags, one word an entry. Never a secret; tools take secrets from files.
    type: list
    elements: str
    default: []
  document:
    description: The document of the tool before this one. Without it the tool works from its flags alone.
    type: dict
  install:
    description: The install root.
    type: path
    default: /opt/mattermost
  accept:
    description: Exit codes that are no failure of the task, beside 0.
    type: list
    elements: int
    default: []
author:
  - The mm-tools authors
"""

EXAMPLES = r"""
- name: A restore point
  mm_tool:
    tool: mm-backup
    arguments: [--to, /srv/backup]
"""

RETURN = r"""
document:
  description: The document that the tool wrote; the next tool takes it. See mm-document(5).
  type: dict
  returned: unless the tool failed
rc:
  description: Exit code of the tool.
  type: int
  returned: always
hint:
  description: What to do next, when the tool failed.
  type: str
  returned: failure
"""

import json
import os
import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

# In a dry run a tool says what it would do; reading and checking change nothing.
WOULD_CHANGE = re.compile(r"would (?!fetch 0 |make the checks|look at )")


def explain(error, stderr):
    """What the document, or else the tool's stderr, says about a failure, as one line and a hint."""
    if not error:
        return stderr.strip() or "the tool wrote no document and said nothing", ""
    line = "{0}: {1}".format(error.get("tool", "?"), error.get("message", "failed"))
    causes = [cause for cause in error.get("causes") or [] if cause]
    return ": ".join([line] + causes), error.get("hint") or ""


def main():
    module = AnsibleModule(
        argument_spec=dict(
            tool=dict(
                type="str",
                required=True,
                choices=["mm-path", "mm-fetch", "mm-backup", "mm-pgbump", "mm-swap", "mm-verify"],
            ),
            arguments=dict(type="list", elements="str", default=[]),
            document=dict(type="dict"),
            install=dict(type="path", default="/opt/mattermost"),
            accept=dict(type="list", elements="int", default=[]),
        ),
        supports_check_mode=True,
    )
    given = module.params
    program = module.get_bin_path(given["tool"], required=False, opt_dirs=["/usr/local/bin"])
    if program is None:
        module.fail_json(msg="{0} is not installed on this host: set mm_tools_deb or mm_tools_tarball, or install the package mm-tools".format(given["tool"]))
    command = [program] + given["arguments"] + ["--install", given["install"], "--format", "json"]
    if module.check_mode:
        command.append("--dry-run")
    stdin = None
    before = False
    if given["document"] is not None:
        command += ["--document", "-"]
        # The document's `changed` is that of the whole hop; the task's is that of this tool.
        before = bool(given["document"].get("changed"))
        stdin = json.dumps(dict(given["document"], changed=False)).encode("utf-8")
    # Not run_command: without a document the tool must not be handed the pipe that this module is fed through.
    with open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            command,
            stdin=nothing if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=dict(os.environ, LC_ALL="C"),
        )
        stdout, stderr = process.communicate(stdin)
    stderr = stderr.decode("utf-8", "replace")
    try:
        document = json.loads(stdout.decode("utf-8"))
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    result = dict(
        rc=process.returncode,
        document=document,
        changed=bool(document.get("changed")),
        msg=document.get("msg") or "",
    )
    if before and "changed" in document:
        document["changed"] = True
    if module.check_mode:
        result["changed"] = bool(WOULD_CHANGE.match(result["msg"]))
    if process.returncode == 0 and document:
        module.exit_json(**result)
    message, hint = explain(document.get("error"), stderr)
    if process.returncode in given["accept"]:
        module.exit_json(**dict(result, msg=message))
    result["msg"] = message + (". Next: " + hint if hint else "")
    del result["document"]
    module.fail_json(hint=hint, **result)


if __name__ == "__main__":
    main()
