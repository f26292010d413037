// SPDX-License-Identifier: MIT
// What tests of simulations trade with, and are cheated by. Compiled by `tests/fetching.py`.
pragma solidity 0.8.37;

interface Movable {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
    function balanceOf(address account) external view returns (uint256);
}

contract Token {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    event Transfer(address indexed from, address indexed to, uint256 amount);
    event Approval(address indexed owner, address indexed spender, uint256 amount);

    function mint(address to, uint256 amount) external { balanceOf[to] += amount; }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) { return _move(msg.sender, to, amount); }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    // Moves without saying so.
    function drain(address from, uint256 amount) external { balanceOf[from] -= amount; balanceOf[msg.sender] += amount; }

    // Says so without moving.
    function boast(address from, uint256 amount) external { emit Transfer(from, msg.sender, amount); }

    // Approves without saying so, by a method of its own.
    function quietly(address spender) external { allowance[msg.sender][spender] = type(uint256).max; }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        emit Transfer(from, to, amount);
        return true;
    }
}

contract Collection {
    mapping(address => mapping(address => bool)) public isApprovedForAll;
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    function setApprovalForAll(address operator, bool approved) external {
        isApprovedForAll[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }
}

contract Permits {
    struct Allowed { uint160 amount; uint48 expiration; uint48 nonce; }
    mapping(address => mapping(address => mapping(address => Allowed))) public allowance;
    event Approval(address indexed owner, address indexed token, address indexed spender, uint160 amount, uint48 expiration);

    function approve(address token, address spender, uint160 amount, uint48 expiration) external {
        allowance[msg.sender][token][spender] = Allowed(amount, expiration, 0);
        emit Approval(msg.sender, token, spender, amount, expiration);
    }
}

// A market of two tokens that keeps the product of what it has of both, and takes 0.3 %.
contract Market {
    function swapExactTokensForTokens(
        uint256 amountIn, uint256 amountOutMin, address[] calldata path, address to, uint256 deadline
    ) external {
        require(block.timestamp <= deadline, "too late");
        Movable sold = Movable(path[0]);
        Movable bought = Movable(path[1]);
        uint256 fee = amountIn * 997;
        uint256 out = fee * bought.balanceOf(address(this)) / (sold.balanceOf(address(this)) * 1000 + fee);
        require(out >= amountOutMin, "too little comes out");
        sold.transferFrom(msg.sender, address(this), amountIn);
        bought.transfer(to, out);
    }
}

// Does nothing where it is simulated without care, and takes what an old approval lets it take where it is not.
contract Cheat {
    function claim(Movable token, uint256 amount) external {
        if (block.coinbase != address(0) && tx.gasprice != 0) token.transferFrom(msg.sender, address(this), amount);
    }
}

contract Factory {
    event Made(address made);

    function make() external { emit Made(address(new Collection())); }
}
