<?php

use App\Models\User;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Route;

// Stands for your login page.
Route::get('/login/{user}', function (int $user) {
    Auth::login(User::findOrFail($user));

    return csrf_token();
})->name('login');
