"""What `walferry --help` says there is. Everything else that lists commands and options is compared with this."""
import re
import subprocess


def _help(program, *command):
    return subprocess.run([program, *command, "--help"], check=True, capture_output=True, text=True).stdout


def commands(program):
    return re.findall(r"^  ([a-z]+) (?:CONFIG|CODE)", _help(program), re.M)


def options(program, command=None):
    """--options of one command (those of all commands among them), or of the program without a command."""
    text = _help(program, *([command] if command else []))
    if command:
        text = re.search(r"^usage:.*?\n\n", text, re.S | re.M)[0]
    return set(re.findall(r"--[a-z][a-z-]+", text)) | {"--help", "--log-format"}


def exit_codes(program):
    sentence = re.search(r"^Exit codes:.*?\n\n", _help(program), re.S | re.M)[0]
    return set(re.findall(r"(?:^|[:;]\s)(\d) ", sentence, re.M))
