# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# Prints as JSON what the parser finds in scripts and modules, whose paths are given with | between them.

$all = foreach ($path in ($args[0] -split '\|')) {
    $found = $null
    $ast = [System.Management.Automation.Language.Parser]::ParseFile($path, [ref] $null, [ref] $found)
    $parameters = foreach ($parameter in $(if ($ast.ParamBlock) { $ast.ParamBlock.Parameters })) {
        $named = @{}
        foreach ($attribute in $parameter.Attributes) {
            if (-not $attribute.PSObject.Properties['NamedArguments']) {
                continue
            }
            foreach ($argument in $attribute.NamedArguments) {
                $named[$argument.ArgumentName] = $argument.Argument.Extent.Text
            }
        }
        @{
            name = $parameter.Name.VariablePath.UserPath
            type = $parameter.StaticType.Name
            mandatory = $named['Mandatory'] -eq '$true'
            help = "$($named['HelpMessage'])"
            default = "$($parameter.DefaultValue)"
        }
    }
    $is = [System.Management.Automation.Language.FunctionDefinitionAst]
    $functions = foreach ($function in $ast.FindAll({ $args[0] -is $is }, $true)) {
        $help = $function.GetHelpContent()
        @{ name = $function.Name; synopsis = "$(if ($help) { $help.Synopsis })" }
    }
    $help = $ast.GetHelpContent()
    @{
        name = Split-Path -Leaf $path
        errors = @($found | ForEach-Object { "$_" })
        administrator = [bool] ($ast.ScriptRequirements -and $ast.ScriptRequirements.IsElevationRequired)
        parameters = @($parameters)
        functions = @($functions)
        synopsis = "$(if ($help) { $help.Synopsis })"
        described = @(if ($help) { $help.Parameters.Keys })
        examples = @(if ($help) { $help.Examples }).Count
    }
}
ConvertTo-Json -InputObject @($all) -Depth 5
