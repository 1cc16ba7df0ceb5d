<#
.SYNOPSIS
Run an onboarding package only when every required endpoint is open.

.DESCRIPTION
Windows PowerShell 5.1 or later. Exit code: that of the command once it was started, else 1 blocked, 2 usage or
bad input, 3 could not measure. Lines beginning with "gate:" say which of the two it was.

.PARAMETER Command
The program to run, such as WindowsDefenderATPOnboardingScript.cmd.

.PARAMETER Arguments
Its arguments.

.PARAMETER CheckOptions
Options for isolator-check: a list, or one text that is split at blanks.

.PARAMETER Report
Where the JSON report is kept (default: preflight-HOST-UTC.json in the current directory).

.PARAMETER Program
The program to ask (default: isolator-check on the path).

.EXAMPLE
.\gate.ps1 -Command .\WindowsDefenderATPOnboardingScript.cmd -CheckOptions '--list streamlined --geo EU'
#>
param(
    [Parameter(Mandatory = $true)][string] $Command,
    [string[]] $Arguments = @(),
    [string[]] $CheckOptions = @(),
    [string] $Report = '',
    [string] $Program = 'isolator-check'
)

function Stop-Gate([int] $Code, [string] $Reason) {
    Write-Host "gate: not starting the onboarding: $Reason"
    exit $Code
}

if (-not $Report) {
    $stamp = (Get-Date).ToUniversalTime().ToString('yyyyMMddTHHmmssZ')
    $Report = Join-Path (Get-Location).Path "preflight-$env:COMPUTERNAME-$stamp.json"
}
if (-not (Get-Command $Program -CommandType Application -ErrorAction SilentlyContinue)) {
    Stop-Gate 2 "$Program is not installed"
}
if (-not (Get-Command $Command -ErrorAction SilentlyContinue)) {
    Stop-Gate 2 "$Command is not there"
}
if (Test-Path -LiteralPath $Report) {
    Remove-Item -LiteralPath $Report -Force -ErrorAction SilentlyContinue
    if (Test-Path -LiteralPath $Report) { Stop-Gate 2 "the old report $Report cannot be removed" }
}

# -File hands over a list as one text, hence the split.
$options = @($CheckOptions | ForEach-Object { $_ -split '\s+' } | Where-Object { $_ })
# Ours come last: they win over the same options given by the caller.
$verdict = (& $Program @options --gate --format json --output $Report) -join ' '
$code = $LASTEXITCODE
if ($verdict) { Write-Host "gate: $verdict" }

# The word and a new report are asked for as well: exit code 0 alone also comes from --help.
if ($code -eq 1) { Stop-Gate 1 "required endpoints are blocked; the report for the network team is $Report" }
if ($code -eq 2) { Stop-Gate 2 'the check was asked for something it cannot do' }
if ($code -ne 0) { Stop-Gate 3 "the network could not be judged; try again, and see $Report if it is there" }
if (-not $verdict.StartsWith('open:')) { Stop-Gate 3 "no verdict from $Program" }
if (-not (Test-Path -LiteralPath $Report)) { Stop-Gate 3 "the report $Report was not written" }

Write-Host "gate: starting the onboarding; the report is kept in $Report"
$global:LASTEXITCODE = 0
& $Command @Arguments
if (-not $?) { if ($LASTEXITCODE) { exit $LASTEXITCODE } else { exit 1 } }
exit $LASTEXITCODE
